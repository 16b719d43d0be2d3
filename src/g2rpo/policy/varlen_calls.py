"""Attention calls over rows of variable length, without padding: torch's flash kernels on a GPU.

The kernels are those that `torch.nn.attention.varlen` calls. That module itself cannot be used: its
backward pass takes the output and log-sum-exp of its own call, and ignores the gradient of the
log-sum-exp, so parts of a softmax that are merged outside of it get wrong gradients. Heads that
share keys are known to the kernels, and nothing is compiled.

FlashAttention-3 is used where its package is installed and the GPU is a Hopper (H100, H200).
"""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.policy.shared_prefix import Groups, Segments


class Kernels(NamedTuple):
    """A pair of operators with the arguments of torch's."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]


FLASH = Kernels(torch.ops.aten._flash_attention_forward, torch.ops.aten._flash_attention_backward)
FLASH_3 = "flash_attn_interface"
"""The package that brings FlashAttention-3."""


def flash_fits(query: Float[Tensor, "*n d"]) -> bool:
    """Return whether the flash kernels of a GPU accept states of this dtype and head size."""
    return (
        query.device.type == "cuda"
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


@functools.cache
def use_flash_3() -> bool:
    """Let torch call FlashAttention-3 if it is installed for this GPU; return whether it does."""
    attention = torch.nn.attention
    if find_spec(FLASH_3) is None or not hasattr(attention, "activate_flash_attention_impl"):
        return False
    if torch.cuda.get_device_capability()[0] != 9:
        return False
    attention.activate_flash_attention_impl("FA3")
    return True


class VarlenCalls:
    """Makes the calls for one packed row; see `shared_softmax.Calls`.

    States and outputs are [s, heads, d] as in the row, log-sum-exps [s, heads].

    Args:
        groups: Lengths of prompts and completions.
        query: Queries of the row.
        key: Keys; a head may belong to several query heads.
        value: Values.
        scale: Factor of the scores.
        kernels: The operators.
    """

    def __init__(
        self,
        groups: Groups,
        query: Float[Tensor, "s h d"],
        key: Float[Tensor, "s k d"],
        value: Float[Tensor, "s k d"],
        scale: float,
        *,
        kernels: Kernels = FLASH,
    ) -> None:
        self.num, self.scale, self.kernels = groups.num_prompt_tokens, scale, kernels
        self.layout = layout = groups.layout
        prompts = [states[: self.num] for states in (query, key, value)]
        completions = [states[self.num :] for states in (query, key, value)]
        keys = prompts[1:]
        if layout.asked_rows is not None:
            keys = [states[layout.asked_rows] for states in keys]
        self._parts: dict[str, tuple[list[Tensor], Segments, Segments, bool]] = {
            "prompts": (prompts, layout.prompts, layout.prompts, True),
            "far": ([completions[0], *keys], layout.groups, layout.asked, False),
            "near": (completions, layout.completions, layout.completions, True),
        }

    def forward(self, part: str) -> tuple[Tensor, Tensor]:
        """Return output [n, heads, d] and log-sum-exp [n, heads] of a part."""
        states, queries, keys, causal = self._parts[part]
        out, lse, *_ = self.kernels.forward(
            *states, *_lengths(queries, keys), 0.0, causal, False, scale=self.scale
        )
        return out, lse.T

    def backward(
        self, part: str, grad: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients in the shapes of a part's states: one per key, not per query head."""
        states, queries, keys, causal = self._parts[part]
        # the state of the random generator and its offset, which only dropout would need
        unused = (
            torch.zeros(2, dtype=torch.uint64, device=grad.device),
            torch.empty(0, device=grad.device),
        )
        found = self.kernels.backward(
            grad.contiguous(),
            *states,
            out.contiguous(),
            lse.T.contiguous(),
            *_lengths(queries, keys),
            0.0,
            causal,
            *unused,
            scale=self.scale,
        )
        rows = self.layout.asked_rows
        if part != "far" or rows is None:
            return found
        whole = [g.new_zeros(self.num, *g.shape[1:]).index_copy_(0, rows, g) for g in found[1:]]
        return found[0], *whole


def _lengths(queries: Segments, keys: Segments) -> tuple[Tensor, Tensor, int, int]:
    """Return offsets of queries and keys, and upper bounds of their lengths.

    With a bound of 1 the kernels take a path for decoding, which reads the offsets of queries not
    at all. So the bound of queries is at least 2.
    """
    return queries.offsets, keys.offsets, max(2, queries.longest), max(2, keys.longest)
