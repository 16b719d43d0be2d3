"""Sum, measure and clip the gradient of a policy, whose weights may be sharded over ranks."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate

from g2rpo import ranks
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.sharding import is_sharded, local_tensor

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


def clip_gradients(policy: Any, max_norm: float, tasks: Sequence[str]) -> float:
    """Scale the gradient down to `max_norm` and return its norm before clipping.

    Args:
        policy: The model.
        max_norm: Largest norm that the gradient keeps.
        tasks: Tasks of this rank's part of the minibatch.

    Raises:
        FloatingPointError: on every rank, with the tasks of the minibatch, if the norm is not
            finite.
    """
    norm = gradient_norm(policy)
    if not math.isfinite(norm):
        names = ", ".join(sorted(set(ranks.all_gather_list(tasks))))
        raise FloatingPointError(f"gradient norm became {norm} (tasks {names})")
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
