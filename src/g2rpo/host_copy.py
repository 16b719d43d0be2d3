"""Copies from host memory to a GPU that the processor does not wait for."""

from typing import Any

import torch
from torch import Tensor


def copied(value: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor of any shape on `device`.

    From the host to a GPU it is copied through pinned memory, and this function returns before the
    copy is done. PyTorch keeps the pinned memory until then. All other copies are waited for:
    values that the host reads have to be there.
    """
    if torch.device(device).type == "cuda" and value.device.type == "cpu":
        return _pinned(value).to(device, non_blocking=True)
    return value.to(device)


def _pinned(value: Tensor) -> Any:
    return value if value.is_pinned() else value.pin_memory()
