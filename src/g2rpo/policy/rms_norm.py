"""RMSNorm in fewer passes over memory, for float32 on a CPU.

transformers writes the squares and the normalized activations to memory, and PyTorch's backward
pass reads and writes whole activations for each operation. Here no squares are stored, and the
gradient is written by hand. With n = x / rms(x) and u = dL/dy:

    dL/dx = (w * u - n * mean(w * u * n)) / rms(x)          dL/dw = sum of u * n over tokens

Other devices and dtypes, and autocast, keep the module's own arithmetic. `python perf/rms_norm.py`
measures both.
"""

import functools
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from g2rpo.policy.forward import without_autocast


def use_fast_norms(policy: Any) -> None:
    """Let those RMSNorm modules of a policy that scale by their plain weight compute faster."""
    for module in policy.modules():
        kind: type[nn.Module] = type(module)
        # Gemma's and Qwen3.5's norms, which scale by 1 + weight, call the number `eps`
        plain = hasattr(module, "variance_epsilon") and not isinstance(module, _FastRMSNorm)
        if kind.__name__.endswith("RMSNorm") and plain:
            module.__class__ = _fast(kind)


@functools.cache
def _fast(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the subclass of a class of transformers that computes faster."""
    return type(kind.__name__, (_FastRMSNorm, kind), {"__doc__": kind.__doc__, "original": kind})


def _empty(kind: type[nn.Module]) -> nn.Module:
    """Return a faster module without weights, for pickle."""
    fast = _fast(kind)
    return fast.__new__(fast)


class _FastRMSNorm(nn.Module):
    """Comes before the class of a module of transformers, which must have these attributes."""

    weight: Tensor
    variance_epsilon: float
    original: ClassVar[type[nn.Module]]
    """The class of transformers."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle make the class again, because it finds no module that has it."""
        return _empty, (self.original,), self.__dict__

    def forward(self, hidden_states: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return `hidden_states / rms * weight`."""
        x, weight = hidden_states, self.weight
        if (
            {x.dtype, weight.dtype} != {torch.float32}
            or x.device.type != "cpu"
            or torch.is_autocast_enabled("cpu")
        ):
            found: Tensor = super().forward(hidden_states)
            return found
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            found = _RMSNorm.apply(x, weight, self.variance_epsilon)
            return found
        return (x * _inverse(x, self.variance_epsilon)).mul_(weight)


class _RMSNorm(torch.autograd.Function):
    """Keeps the input and one number per token for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        inverse = _inverse(x, eps)
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, inverse = ctx.saved_tensors
        normed = x * inverse
        product = grad * normed
        of_weight = product.reshape(-1, len(weight)).sum(0) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, of_weight, None
        mean = (product @ weight).div_(x.shape[-1])[..., None]
        of_x = (grad * weight).sub_(normed.mul_(mean)).mul_(inverse)
        return of_x, of_weight, None


def _inverse(x: Float[Tensor, "*b d"], eps: float) -> Float[Tensor, "*b 1"]:
    """Return 1 / sqrt(mean(x^2) + eps)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(_scalar(eps), norm, norm, value=1 / x.shape[-1]).rsqrt_()


@functools.cache
def _scalar(value: float) -> Tensor:
    """Return a number as a tensor, whatever dtype and device new tensors have by default."""
    return torch.tensor(value, dtype=torch.float32, device="cpu")
