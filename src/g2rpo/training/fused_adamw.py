"""Lets torch's AdamW update each weight in one kernel instead of a dozen."""

from collections.abc import Mapping
from typing import Any

import torch

FUSED_ON = ("cuda", "cpu")
"""Types of devices on which the fused kernel is faster than torch's default."""


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Choose the fused kernel for an AdamW of torch whose configuration leaves the choice open.

    Other optimizers, and `optimizer.fused` or `optimizer.foreach` that are set, stay as they are. A
    resumed run goes on with the kernel of its checkpoint, because the fused kernel keeps its step
    counts on the device, and the default on the CPU.
    """
    for group in optimizer.param_groups:
        fits = all(p.device.type in FUSED_ON and p.is_floating_point() for p in group["params"])
        if fits and leaves_kernel_open(optimizer, group):
            group["fused"] = True


def leaves_kernel_open(optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> bool:
    """Return whether `fuse` may choose the kernel.

    Args:
        optimizer: Any optimizer.
        settings: Its defaults, or those of a group.
    """
    return (
        type(optimizer) is torch.optim.AdamW
        and settings["fused"] is None
        and settings["foreach"] is None
    )
