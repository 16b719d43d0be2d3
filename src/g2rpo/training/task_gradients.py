"""A gradient for each task of a minibatch, and their weighted sum, for choices of `gradient`.

The policy holds the gradient of one task at a time; those of the others wait beside it. Each is
summed over ranks before any is weighed. Weights that are sharded (`trainer=fsdp`) are refused.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.algorithm.gradient.weighting import TaskWeighting
from g2rpo.training.gradients import add_gradients

log = logging.getLogger("g2rpo")
PIECE = 2**20
"""Coordinates of each gradient that are multiplied in float64 at once."""


class TaskGradients:
    """Collects the gradients of one minibatch.

    Args:
        policy: The model. It must not have a gradient yet.
        weighting: Weighs the gradients.
    """

    def __init__(self, policy: Any, weighting: TaskWeighting) -> None:
        self.policy = policy
        self.weighting = weighting
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        self._waiting: dict[int, list[Tensor | None]] = {}
        self._task: int | None = None

    def begin(self, task: int | None) -> None:
        """Let the next backward passes add to the gradient of a task; None for no task."""
        if self._task is not None:
            self._waiting[self._task] = [parameter.grad for parameter in self._parameters]
        found = self._waiting.pop(task, None) if task is not None else None
        for parameter, gradient in zip(
            self._parameters, found or [None] * len(self._parameters), strict=True
        ):
            parameter.grad = gradient
        self._task = task

    def combine(self, num_images: float, seed: int) -> dict[int, float]:
        """Put the weighted sum over tasks and ranks into the policy; all ranks call this together.

        With fewer than two gradients that are not 0, or with one that is not finite, it is the sum.

        Args:
            num_images: Number of images that all ranks passed through the policy.
            seed: Seed of the weighting's random choices.

        Returns:
            The weight of each task that any rank has.
        """
        self.begin(None)
        tasks = sorted(set(ranks.all_gather_list(list(self._waiting))))
        for task in tasks:
            self.begin(task)
            add_gradients(self.policy, num_images)
        self.begin(None)
        gramian = self._gramian(tasks)
        weights = torch.ones(len(tasks), dtype=torch.float64)
        pulling = gramian.diagonal() > 0
        if pulling.sum() > 1 and gramian.isfinite().all():
            weights[pulling] = self.weighting(gramian[pulling][:, pulling], seed).double()
        # those of the first rank: another processor may round differently
        shared: list[float] = ranks.all_gather_list([weights.tolist()])[0]
        for place, parameter in enumerate(self._parameters):
            for task, weight in zip(tasks, shared, strict=True):
                gradient, self._waiting[task][place] = self._waiting[task][place], None
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient.mul_(weight)
                else:
                    parameter.grad.add_(gradient, alpha=weight)
        self._waiting = {}
        return dict(zip(tasks, shared, strict=True))

    def _gramian(self, tasks: Sequence[int]) -> Float[Tensor, "k k"]:
        gramian: Tensor = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
        for place, parameter in enumerate(self._parameters):
            own = [self._waiting[task][place] for task in tasks]
            if all(gradient is None for gradient in own):
                continue
            zero = torch.zeros((), dtype=parameter.dtype, device=parameter.device)
            flat = [
                zero.expand(parameter.numel()) if gradient is None else gradient.reshape(-1)
                for gradient in own
            ]
            for pieces in zip(*(gradient.split(PIECE) for gradient in flat), strict=True):
                rows = torch.stack(pieces).double()
                gramian = gramian.to(rows.device) + rows @ rows.T
        return gramian.cpu()


def check_memory(policy: Any, weighting: TaskWeighting, tasks: Sequence[str]) -> None:
    """Log the memory that gradients of all tasks need, and refuse a run that lacks it.

    Args:
        policy: The model, loaded.
        weighting: The choice of `gradient`.
        tasks: The tasks of the run.

    Raises:
        ValueError: if less memory is free than the gradients need.
    """
    if not weighting.by_task:
        return
    one = sum(p.numel() * p.element_size() for p in policy.parameters() if p.requires_grad)
    needed, free = len(tasks) * one, free_bytes(next(policy.parameters()).device)
    log.info(
        "gradient: each of %d tasks has a gradient of %.2f GiB, together %.2f GiB",
        len(tasks),
        one / 2**30,
        needed / 2**30,
    )
    if free is not None and needed > free:
        raise ValueError(
            f"gradient: expected {needed / 2**30:.2f} GiB for the gradients of {len(tasks)} tasks,"
            f" free are {free / 2**30:.2f} GiB; use gradient=sum, fewer tasks, or"
            " model/adapter=lora, whose gradients are small"
        )


def free_bytes(device: torch.device) -> int | None:
    """Return the free bytes of a GPU, or of this machine if Linux says so, else None."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    found = [line for line in lines if line.startswith("MemAvailable:")]
    return int(found[0].split()[1]) * 1024 if found else None


def check_sharding(weighting: TaskWeighting, trainer: Mapping[str, Any]) -> None:
    """Refuse gradients by task with sharded weights.

    Args:
        weighting: The choice of `gradient`.
        trainer: The composed `trainer` group as plain values.

    Raises:
        ValueError: with what to use instead.
    """
    strategy = trainer.get("strategy")
    target = strategy.get("_target_", "") if isinstance(strategy, Mapping) else ""
    if weighting.by_task and str(target).endswith(".ShardedStrategy"):
        raise ValueError(
            "gradient: with a gradient for each task, expected trainer=auto or trainer=ddp, got"
            " trainer=fsdp, which adds the gradients of all tasks as soon as they are computed; use"
            " gradient=sum"
        )
