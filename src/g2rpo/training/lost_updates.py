"""Refuses to train weights that rounding keeps from moving.

A bfloat16 number has 8 significant bits. A step of less than half the distance to the next number
rounds back to the old one, so at a learning rate of 2e-6 almost no weight ever moves.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

SAMPLED = 2**16
"""Most values of one tensor that are looked at."""


@torch.no_grad()
def lost_update_frac(weights: Iterable[Tensor], lr: float) -> float:
    """Return the share of weights in [0, 1] that a step of size `lr` leaves as they are.

    Adam moves every weight by about `lr`. The share is a mean of steps up and steps down; of large
    tensors, evenly spaced values stand for all.
    """
    lost = total = 0.0
    for weight in weights:
        flat = weight.detach().flatten()
        few = flat[:: -(-len(flat) // SAMPLED) or 1]
        unmoved = (few + lr == few).double() + (few - lr == few).double()
        lost += len(flat) * unmoved.mean().item() / 2 if len(flat) else 0.0
        total += len(flat)
    return lost / total if total else 0.0


def refuse_lost_updates(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer without compensation for weights below float32.

    An optimizer that compensates says so by `kahan_sum` or `bf16_stochastic_round`, as a default of
    its parameter groups or as an attribute.

    Raises:
        ValueError: with the share of updates that would be lost, and what to use instead.
    """
    low = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.dtype in (torch.bfloat16, torch.float16)
    ]
    names = ("kahan_sum", "bf16_stochastic_round")
    if not low or any(optimizer.defaults.get(n) or getattr(optimizer, n, False) for n in names):
        return
    lr, dtype = float(optimizer.param_groups[0]["lr"]), str(low[0].dtype).removeprefix("torch.")
    local = [p.to_local() if hasattr(p, "to_local") else p for p in low]
    raise ValueError(
        f"model.dtype: expected float32 for training with {type(optimizer).__name__}, got {dtype}:"
        f" at optimizer.lr={lr:g}, rounding loses {lost_update_frac(local, lr):.0%} of the updates."
        " Use model.dtype=float32 trainer.precision=bf16-mixed, or, if memory forbids it,"
        " optimizer=adamw_kahan or model/adapter=lora"
    )
