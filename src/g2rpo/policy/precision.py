"""Two dtypes: the one that weights are held in, and the one that a forward pass computes in.

With `trainer.precision=bf16-mixed`, weights and optimizer state are float32 and autocast computes
matrix products in bfloat16. Otherwise a policy computes in the dtype of its weights.

Lightning enters autocast around whole training steps. Autocast keeps its bfloat16 copies of the
weights until the outermost block ends: within a step that samples, computes log-probabilities and
updates several times, these copies would be stale after the first update, and those made without
gradients would cut the gradient off. So every pass enters `computing` itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
MIXED = {"bf16-mixed": torch.bfloat16}
"""Compute dtype by Lightning precision, if it differs from the dtype of the weights."""


def compute_in(policy: Any, precision: str) -> None:
    """Let the policy compute as `precision` (of Lightning's Trainer) says."""
    if precision in MIXED:
        policy.compute_dtype = MIXED[precision]


def compute_dtype(policy: Any) -> torch.dtype:
    """Return the dtype of matrix products in a forward pass; engines and exports use it too."""
    dtype: torch.dtype = getattr(policy, "compute_dtype", None) or policy.dtype
    return dtype


@contextmanager
def computing(policy: Any, *, keep_casts: bool = False) -> Iterator[None]:
    """Compute in the policy's compute dtype within the block.

    Args:
        policy: The model.
        keep_casts: Whether weights are cast once per block and not once per pass. It is faster for
            many passes without gradients, but needs memory for all weights in the compute dtype.
    """
    mixed = getattr(policy, "compute_dtype", None)
    with torch.autocast(
        policy.device.type, mixed, enabled=mixed is not None, cache_enabled=keep_casts
    ):
        if keep_casts:
            torch.clear_autocast_cache()
        try:
            yield
        finally:
            if keep_casts:
                torch.clear_autocast_cache()


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function compute in the dtypes of its tensors, whoever calls it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return call


def computed(states: Tensor) -> Tensor:
    """Return states in the dtype of autocast; unchanged outside of it."""
    device = states.device.type
    return (
        states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states
    )
