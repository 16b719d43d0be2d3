"""The gradient of a policy: sum, norm and clipping, and the conflict between tasks.

The weights may be sharded over ranks. Gradient conflict is the size and direction of each task's
gradient: in some rollout batches, before the update, the gradient of each task is computed as if
the batch held only this task, with all terms and denominators of the loss. Norms say how strongly a
task pulls, cosines whether two tasks pull in the same direction. The weights do not change.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate

from g2rpo import ranks
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import full_tensor, is_sharded, local_tensor
from g2rpo.tasks import listed

PIECE = 2**24
"""Coordinates that are squared in float64 at once."""


def add_gradients(policy: Any, num_images: float) -> None:
    """Sum the gradients over ranks; FSDP has already summed those of sharded weights.

    Args:
        policy: The model.
        num_images: Number of images that all ranks passed through it.
    """
    ranks.add_gradients(p for p in policy.parameters() if not isinstance(p, DTensor))
    if is_sharded(policy) and not num_images:
        # FSDP leaves zeros, with which Adam would move the weights by their momentum.
        for parameter in family_of(policy).vision_parameters(policy).values():
            parameter.grad = None


def gradient_norm(policy: Any) -> float:
    """Return the Euclidean norm of the whole gradient, summed in float64.

    float32 loses about 1e-4 of the norm of a large tensor. All ranks must call this together if the
    policy is sharded.
    """
    whole = shared = 0.0
    for parameter in policy.parameters():
        if parameter.grad is None:
            continue
        squares = sum(
            piece.double().square().sum().item()
            for piece in local_tensor(parameter.grad).reshape(-1).split(PIECE)
        )
        if isinstance(parameter, DTensor):
            shared += squares / _replicas(parameter)
        else:
            whole += squares
    if is_sharded(policy):
        whole += ranks.all_reduce_sum(torch.tensor(shared, dtype=torch.float64)).item()
    return math.sqrt(whole)


def clip_gradients(policy: Any, max_norm: float, prompts: Sequence[str]) -> float:
    """Scale the gradient down to `max_norm` and return its norm before clipping.

    Args:
        policy: The model.
        max_norm: Largest norm that the gradient keeps.
        prompts: Task and id of the prompts in this rank's part of the minibatch.

    Raises:
        FloatingPointError: on every rank, with prompts of the minibatch, if the norm is not
            finite.
    """
    norm = gradient_norm(policy)
    if not math.isfinite(norm):
        names = listed(ranks.all_gather_list(list(prompts)))
        raise FloatingPointError(f"gradient norm became {norm} ({names})")
    if norm > max_norm:
        for gradient in _local_gradients(policy):
            gradient.mul_(max_norm / norm)
    return norm


def _local_gradients(policy: Any) -> Iterator[Tensor]:
    return (local_tensor(p.grad) for p in policy.parameters() if p.grad is not None)


def _replicas(parameter: DTensor) -> int:
    """Return how many ranks hold the same part of a weight."""
    mesh = parameter.device_mesh
    return math.prod(
        mesh.size(dim) for dim, at in enumerate(parameter.placements) if isinstance(at, Replicate)
    )


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
