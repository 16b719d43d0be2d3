"""Attention over a packed row of prompts and completions: the arithmetic, on any device.

A completion token attends to its prompt and to earlier tokens of its completion. These are three
calls of an attention kernel, none of which computes a fully masked block:

    prompts        prompts to themselves, causal
    far            completions to their whole prompt, not causal
    near           completions to themselves, causal

`far` and `near` are parts of one softmax and are merged by their log-sum-exp. The backward pass of
each part, given the merged output and log-sum-exp, returns exactly its share of the gradient.
`padded_calls.py` and `varlen_calls.py` make the calls.
"""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.policy.shared_prefix import Groups

Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients of queries, keys and values."""


class Calls(Protocol):
    """The calls of a kernel for one packed row, in the kernel's own layout."""

    def forward(self, part: str) -> tuple[Float[Tensor, "*n d"], Float[Tensor, "*n"]]:
        """Return output and log-sum-exp of `prompts`, `far` or `near`.

        Those of `far` and `near` have the same layout.
        """

    def backward(
        self, part: str, grad: Float[Tensor, "*n d"], out: Tensor, lse: Float[Tensor, "*n"]
    ) -> Gradients:
        """Return gradients in the shapes of a part's states, perhaps a key for every query head."""

    def split(self, rows: Float[Tensor, "s h d"]) -> tuple[Tensor, Tensor | None]:
        """Return prompts and completions of a row, in the shapes that `forward` uses; None if no
        completion has a token.
        """

    def joined(self, prompts: Tensor, completions: Tensor | None) -> Float[Tensor, "s h d"]:
        """Undo `split`, whose shapes are those of the calls."""


class PrefixAttention(torch.autograd.Function):
    """Attention over a packed row.

    `apply(query [s, heads, d], key [s, kv_heads, d], value [s, kv_heads, d], groups, scale,
    make_calls)` returns [s, heads, d]. `make_calls(groups, query, key, value, scale)` returns
    `Calls`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        groups: Groups,
        scale: float,
        make_calls: Any,
    ) -> Tensor:
        """Compute the three parts [s, heads, d]; saved memory is linear in the row's length."""
        calls: Calls = make_calls(groups, query, key, value, scale)
        out, lse = calls.forward("prompts")
        merged, merged_lse = None, None
        if groups.num_completion_tokens:
            merged, merged_lse = merge(*calls.forward("far"), *calls.forward("near"))
        result = calls.joined(out, merged)
        ctx.save_for_backward(query, key, value, result, lse, merged_lse)
        ctx.settings = groups, scale, make_calls
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the three parts, in the shapes of query, key and value."""
        query, key, value, result, lse, merged_lse = ctx.saved_tensors
        groups, scale, make_calls = ctx.settings
        calls: Calls = make_calls(groups, query, key, value, scale)
        (grad_prompts, grad_completions), (out, merged) = calls.split(grad), calls.split(result)
        of_prompts = calls.backward("prompts", grad_prompts, out, lse)
        sums: list[tuple[Tensor, Tensor | None]] = [(part, None) for part in of_prompts]
        if merged_lse is not None:
            far = calls.backward("far", grad_completions, merged, merged_lse)
            near = calls.backward("near", grad_completions, merged, merged_lse)
            sums = [
                (of_prompts[0], far[0] + near[0]),
                (of_prompts[1] + far[1], near[1]),
                (of_prompts[2] + far[2], near[2]),
            ]
        grads = [
            folded(calls.joined(*parts), like.shape[1])
            for parts, like in zip(sums, (query, key, value), strict=True)
        ]
        return *grads, None, None, None


def merge(
    far: Float[Tensor, "*n d"],
    far_lse: Float[Tensor, "*n"],
    near: Float[Tensor, "*n d"],
    near_lse: Float[Tensor, "*n"],
) -> tuple[Float[Tensor, "*n d"], Float[Tensor, "*n"]]:
    """Merge two parts of a softmax, in the dtype of the log-sum-exp (float32 for half precision).

    Returns:
        The attention over the keys of both parts, in the dtype of the parts, and its log-sum-exp.
    """
    lse = torch.logaddexp(far_lse, near_lse)
    merged = far.to(lse) * (far_lse - lse).exp()[..., None]
    merged = merged + near.to(lse) * (near_lse - lse).exp()[..., None]
    return merged.to(far), lse


def folded(grad: Float[Tensor, "s h d"], heads: int) -> Float[Tensor, "s k d"]:
    """Sum gradients over the query heads that share keys or values."""
    return grad if grad.shape[1] == heads else grad.unflatten(1, (heads, -1)).sum(2)
