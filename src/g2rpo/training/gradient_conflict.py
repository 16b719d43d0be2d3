"""Measures gradient conflict: the size and direction of each task's gradient.

In some rollout batches, before the update, the gradient of each task is computed as if the batch
held only this task, with all terms and denominators of the loss. Norms say how strongly a task
pulls, cosines whether two tasks pull in the same direction. The weights do not change.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.policy.sharding import full_tensor
from g2rpo.training.gradients import gradient_norm


class GradientConflict:
    """Measures gradient conflict at an interval.

    Args:
        every_n_steps: Number of rollout batches between two measurements; the first one is always
            measured. None measures none.
        max_coordinates: If a gradient has more coordinates, cosines are computed from this many
            evenly spaced ones; norms are exact.
    """

    def __init__(self, *, every_n_steps: int | None = 10, max_coordinates: int = 4_000_000) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(
                "gradient_conflict.every_n_steps: expected 1 or more, or null for never, got"
                f" {every_n_steps}"
            )
        if max_coordinates < 1:
            raise ValueError(
                f"gradient_conflict.max_coordinates: expected 1 or more, got {max_coordinates}"
            )
        self.every_n_steps = every_n_steps
        self.max_coordinates = max_coordinates

    def due(self, step: int) -> bool:
        """Return whether to measure this rollout batch, counted from 1."""
        return self.every_n_steps is not None and (step == 1 or step % self.every_n_steps == 0)

    def measure(
        self, policy: Any, tasks: Mapping[int, str], add_gradient: Callable[[int], None]
    ) -> dict[str, float]:
        """Return the `gradient/*` metrics of one rollout batch; gradients are cleared.

        Args:
            policy: The model.
            tasks: Names of the tasks to compare, by their position among those of the run.
            add_gradient: Accumulates the gradient of one task in the policy's parameters.
        """
        norms, samples = {}, {}
        for task, name in tasks.items():
            policy.zero_grad(set_to_none=True)
            add_gradient(task)
            norms[name], samples[name] = (
                gradient_norm(policy),
                sampled_gradient(policy, self.max_coordinates),
            )
        policy.zero_grad(set_to_none=True)
        return conflict_metrics(norms, samples)


def sampled_gradient(policy: Any, most: int) -> Float[Tensor, " n"]:
    """Return at most `most` evenly spaced coordinates of the gradient, on the CPU.

    A parameter without a gradient counts as 0.
    """
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    stride = -(-sum(parameter.numel() for parameter in trained) // most)
    pieces, passed = [], 0
    for parameter in trained:
        flat = (
            torch.zeros(parameter.numel())
            if parameter.grad is None
            else full_tensor(parameter.grad).flatten()
        )
        pieces.append(flat[-passed % stride :: stride].float().cpu())
        passed += len(flat)
    return torch.cat(pieces)


def conflict_metrics(
    norms: dict[str, float], samples: dict[str, Float[Tensor, " n"]]
) -> dict[str, float]:
    """Return norms by task, their largest ratio, and pairwise cosines with their minimum.

    A task whose gradient is exactly 0 (all completions of each group agree) has no direction and is
    left out of ratio and cosines.
    """
    row = {f"gradient/norm/{task}": norm for task, norm in norms.items()}
    pulling = [task for task, norm in norms.items() if norm > 0]
    if len(pulling) < 2:
        return row
    cosines = {
        f"gradient/cosine/{first}/{second}": (
            torch.cosine_similarity(samples[first].double(), samples[second].double(), dim=0).item()
        )
        for first, second in combinations(pulling, 2)
    }
    strengths = [norms[task] for task in pulling]
    return (
        row
        | cosines
        | {
            "gradient/norm_ratio": max(strengths) / min(strengths),
            "gradient/min_cosine": min(cosines.values()),
        }
    )
