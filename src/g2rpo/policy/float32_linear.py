"""Linear layers whose float32 products are computed by oneDNN, for AMD processors since Zen 5.

PyTorch multiplies float32 matrices with MKL, which uses half of the width of such a processor
(AVX2); oneDNN, which PyTorch contains as well, uses all of it. On Zen 4, which passes AVX-512 in
two halves, oneDNN is slower in sum: its product is hardly faster, and it prepares a kernel for
every new number of rows. `python perf/cpu.py` prints the ratio. Products are those of float32: they
differ from MKL's in the order of their sums, as those of another processor would.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

FEWEST_ROWS = 512
"""MKL is faster with fewer rows. oneDNN prepares a kernel whenever the number of rows is a new one,
which takes longer than a small product, and that of a decoding step changes all the time.
"""
ZEN_5 = 26
"""Family of the first AMD processors whose registers of AVX-512 are as wide as they say."""


def use_onednn(policy: Any) -> None:
    """Let the linear layers of a policy multiply with oneDNN, if that is faster here."""
    if not is_faster():
        return
    for module in policy.modules():
        if type(module) is nn.Linear:
            module.__class__ = Float32Linear


def is_faster() -> bool:
    """Return whether this is an AMD processor since Zen 5 and PyTorch has oneDNN."""
    info = Path("/proc/cpuinfo")
    if (
        not torch.backends.mkldnn.is_available()
        or torch.backends.cpu.get_cpu_capability() != "AVX512"
        or not info.exists()
    ):
        return False
    text = info.read_text(encoding="utf-8")
    family = re.search(r"^cpu family\s*:\s*(\d+)", text, re.MULTILINE)
    return "AuthenticAMD" in text and family is not None and int(family[1]) >= ZEN_5


class Float32Linear(nn.Linear):
    """A linear layer, with oneDNN where its input is float32 on a CPU and has enough rows."""

    def forward(self, input: Float[Tensor, "*b k"]) -> Float[Tensor, "*b n"]:
        """Return `input @ weight.T + bias`."""
        weight, bias = self.weight, self.bias
        if (
            input.numel() < FEWEST_ROWS * self.in_features
            or {input.dtype, weight.dtype} != {torch.float32}
            or {input.device.type, weight.device.type} != {"cpu"}
            or torch.is_autocast_enabled("cpu")
        ):
            return super().forward(input)
        if not torch.is_grad_enabled():
            return _product(input, weight, bias)
        result: Tensor = _Linear.apply(input, weight, bias)
        return result


class _Linear(torch.autograd.Function):
    """Keeps for the backward pass what PyTorch's linear layer keeps."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for_input, for_weight, *_ = ctx.needs_input_grad
        ctx.save_for_backward(input if for_weight else None, weight if for_input else None)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        return (
            None if weight is None else _product(grad, weight.t()),
            None if input is None else _product(rows.t(), input.flatten(0, -2).t()),
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _flops(left: Sequence[int], right: Sequence[int], *_: Any, **__: Any) -> int:
    """Return the FLOPs of a product from the shapes, for torch's counter."""
    return 2 * math.prod(left) * right[0]


if torch.backends.mkldnn.is_available():
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_flops)


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `left @ right.T + bias`."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return found
