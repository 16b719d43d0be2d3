"""Lets torch's AdamW update all weights in one kernel, where the weights are on a GPU."""

import torch

FUSED_ON = ("cuda",)
"""Types of devices on which the fused kernel is faster than torch's default."""


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Choose the fused kernel for an AdamW of torch whose configuration leaves the choice open.

    Other optimizers, and `optimizer.fused` or `optimizer.foreach` that are set, stay as they are,
    and so do groups with weights on a CPU. A resumed run goes on with the kernel of its checkpoint,
    because the fused kernel keeps its step counts on the device, and the default on the CPU.
    """
    if type(optimizer) is not torch.optim.AdamW:
        return
    for group in optimizer.param_groups:
        weights = group["params"]
        free = group["fused"] is None and group["foreach"] is None
        if free and all(p.device.type in FUSED_ON and p.is_floating_point() for p in weights):
            group["fused"] = True
