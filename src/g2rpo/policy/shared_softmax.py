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

from g2rpo.policy.forward import without_autocast
from g2rpo.policy.shared_prefix import Groups

Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients of queries, keys and values."""


class Calls(Protocol):
    """The calls of a kernel for one packed row.

    Queries of `prompts` are the tokens of prompts, those of `far` and `near` all other tokens; keys
    of `near` are the same as its queries, those of the others the tokens of prompts.
    """

    def forward(self, part: str) -> tuple[Float[Tensor, "n h d"], Float[Tensor, "n h"]]:
        """Return output and log-sum-exp of the queries of `prompts`, `far` or `near`."""

    def backward(
        self, part: str, grad: Float[Tensor, "n h d"], out: Tensor, lse: Float[Tensor, "n h"]
    ) -> Gradients:
        """Return gradients in the shapes of a part's queries, keys and values."""


class PrefixAttention(torch.autograd.Function):
    """Attention over a packed row.

    `apply(query [s, heads, d], key [s, kv_heads, d], value [s, kv_heads, d], groups, scale,
    make_calls)` returns [s, heads, d]. `make_calls(groups, query, key, value, scale)` returns
    `Calls`.
    """

    @staticmethod
    @without_autocast
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
        result, lse = calls.forward("prompts")
        merged_lse = None
        if groups.num_completion_tokens:
            merged, merged_lse = merge(*calls.forward("far"), *calls.forward("near"))
            result = torch.cat([result, merged])
        ctx.save_for_backward(query, key, value, result, lse, merged_lse)
        ctx.settings = groups, scale, make_calls
        return result

    @staticmethod
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the three parts, in the shapes of query, key and value."""
        query, key, value, result, lse, merged_lse = ctx.saved_tensors
        groups, scale, make_calls = ctx.settings
        calls: Calls = make_calls(groups, query, key, value, scale)
        num = groups.num_prompt_tokens
        of_prompts = calls.backward("prompts", grad[:num], result[:num], lse)
        if merged_lse is None:
            return *of_prompts, None, None, None
        far = calls.backward("far", grad[num:], result[num:], merged_lse)
        near = calls.backward("near", grad[num:], result[num:], merged_lse)
        return (
            torch.cat([of_prompts[0], far[0].add_(near[0])]),
            torch.cat([of_prompts[1].add_(far[1]), near[1]]),
            torch.cat([of_prompts[2].add_(far[2]), near[2]]),
            None,
            None,
            None,
        )


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
