"""Attention over a packed row of prompts and completions, registered with transformers.

A completion token attends to its prompt and to earlier tokens of its completion. On a CPU these are
three calls of the flash kernel, none of which computes a fully masked block:

    prompts to themselves, causal             [p, heads, l, d]
    completions to their whole prompt         [p, heads, g * c, d] x [p, heads, l, d]
    completions to themselves, causal         [b, heads, c, d]

The last two are parts of one softmax and are merged by their log-sum-exp. The backward pass of each
part, with the merged output and log-sum-exp, gives exactly its share of the gradient. On a GPU,
FlexAttention gets the same visibility as a block mask.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import computed
from g2rpo.policy.prefix_cache import PrefixCache
from g2rpo.policy.shared_prefix import Groups

NAME = "g2rpo_shared_prefix"
flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def use_prefix_attention(policy: Any) -> None:
    """Let the text layers of a policy accept `groups=` and `behind=`; other calls are unchanged.

    Raises:
        ValueError: The policy does not use full attention by sdpa.
    """
    text = policy.config.get_text_config()
    if not knows_prefixes(policy):
        kind = text._attn_implementation
        if kind == "sdpa":
            kind = "a sliding window" if _slides(text) else "other layers"
        raise ValueError(
            f"policy.prefix=shared: expected full attention by sdpa, got {kind}; use"
            " policy.prefix=repeated"
        )
    text._attn_implementation = NAME


def knows_prefixes(policy: Any) -> bool:
    """Return whether `use_prefix_attention` supports the policy."""
    text = policy.config.get_text_config()
    whole = family_of(policy).shares_prefix and not _slides(text)
    return whole and text._attn_implementation in ("sdpa", NAME)


def _slides(text: Any) -> bool:
    return "sliding_attention" in (getattr(text, "layer_types", None) or ())


def _forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    groups: Groups | None = None,
    behind: PrefixCache | None = None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention function of transformers: [b, heads, s, d] in, [b, s, heads, d] out.

    With `groups=` the input is one packed row, with `behind=` it is single tokens.
    """
    # queries and keys left their norms in float32, and the kernels know no autocast
    query, key, value = computed(query), computed(key), computed(value)
    if behind is not None:
        return (
            behind.attend(
                module.layer_idx, query, key, value, module.scaling if scaling is None else scaling
            ),
            None,
        )
    if groups is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
    if query.device.type == "cuda":
        return (
            flex_attention_forward(module, query, key, value, groups.block_mask(), scaling=scaling)[
                0
            ],
            None,
        )
    if query.device.type != "cpu":
        raise ValueError(
            f"policy.prefix=shared: expected a CPU or a CUDA device, got {query.device}; use"
            " policy.prefix=repeated"
        )
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    return (
        PrefixAttention.apply(*rows, groups, module.scaling if scaling is None else scaling)[None],
        None,
    )


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


class PrefixAttention(torch.autograd.Function):
    """Attention over a packed row on a CPU.

    `apply(query [s, heads, d], key [s, kv_heads, d], value [s, kv_heads, d], groups, scale)`
    returns [s, heads, d].
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, groups: Groups, scale: float
    ) -> Tensor:
        """Compute the three parts; saved memory is linear in the length of the row."""
        parts = _Parts(groups, query, key, value)
        out, lse = flash(*parts.prompts, 0.0, True, scale=scale)
        merged, merged_lse = None, None
        rows = [unpadded(out, groups.prompts)]
        if parts.completions:
            far, far_lse = flash(
                parts.far_query, *parts.prompts[1:], 0.0, False, attn_mask=parts.bias, scale=scale
            )
            near, near_lse = flash(*parts.completions, 0.0, True, scale=scale)
            far, far_lse = parts.near(far), parts.near(far_lse[..., None])[..., 0]
            merged_lse = torch.logaddexp(far_lse, near_lse)
            merged = far * (far_lse - merged_lse).exp()[..., None].to(far) + near * (
                near_lse - merged_lse
            ).exp()[..., None].to(near)
            rows.append(unpadded(merged, groups.completions))
        result = torch.cat(rows)
        ctx.save_for_backward(query, key, value, result, lse, merged_lse)
        ctx.groups, ctx.scale = groups, scale
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the three parts; padding contributes 0."""
        query, key, value, result, lse, merged_lse = ctx.saved_tensors
        groups, scale = ctx.groups, ctx.scale
        parts = _Parts(groups, query, key, value)
        (grad_prompts, grad_completions), (out, merged) = (
            split(rows, groups) for rows in (grad, result)
        )
        of_prompts = flash_backward(grad_prompts, *parts.prompts, out, lse, 0.0, True, scale=scale)
        if not parts.completions:
            return (
                *(
                    unpadded(folded(g, like.shape[1]), groups.prompts)
                    for g, like in zip(of_prompts, (query, key, value), strict=True)
                ),
                None,
                None,
            )
        near = flash_backward(
            grad_completions, *parts.completions, merged, merged_lse, 0.0, True, scale=scale
        )
        far = flash_backward(
            parts.far(grad_completions),
            parts.far_query,
            *parts.prompts[1:],
            parts.far(merged),
            parts.far(merged_lse[..., None])[..., 0],
            0.0,
            False,
            attn_mask=parts.bias,
            scale=scale,
        )
        sums = (
            (of_prompts[0], parts.near(far[0]) + near[0]),
            (of_prompts[1] + far[1], near[1]),
            (of_prompts[2] + far[2], near[2]),
        )
        grads = []
        for (first, second), like in zip(sums, (query, key, value), strict=True):
            pieces = [
                unpadded(folded(first, like.shape[1]), groups.prompts),
                unpadded(folded(second, like.shape[1]), groups.completions),
            ]
            grads.append(torch.cat(pieces))
        return *grads, None, None


class _Parts:
    """Queries, keys and values for the three kernel calls: padded, with one key per query head."""

    def __init__(self, groups: Groups, *states: Tensor) -> None:
        heads = states[0].shape[1]
        both = [
            split(
                (
                    rows.repeat_interleave(heads // rows.shape[1], 1)
                    if rows.shape[1] < heads
                    else rows
                ),
                groups,
            )
            for rows in states
        ]
        self.prompts = tuple(prompts for prompts, _ in both)
        self.completions = tuple(completions for _, completions in both if completions is not None)
        self.num_prompts = len(groups.prompts)
        self.bias: Tensor | None = None
        if not groups.prompts.all():
            self.bias = torch.zeros(groups.prompts.shape, dtype=states[0].dtype).masked_fill(
                ~groups.prompts, float("-inf")
            )[:, None, None]
        self.far_query = self.far(self.completions[0]) if self.completions else None

    def far(self, states: Float[Tensor, "b h c d"]) -> Float[Tensor, "p h gc d"]:
        """Concatenate the completions of each prompt, to attend to its keys in one call."""
        _, h, c, d = states.shape
        return (
            states.view(self.num_prompts, -1, h, c, d)
            .transpose(1, 2)
            .reshape(self.num_prompts, h, -1, d)
        )

    def near(self, states: Float[Tensor, "p h gc d"]) -> Float[Tensor, "b h c d"]:
        """Undo `far`: one row per completion."""
        p, h, _, d = states.shape
        b, _, c, _ = self.completions[0].shape
        return states.view(p, h, -1, c, d).transpose(1, 2).reshape(b, h, c, d)


def split(
    rows: Float[Tensor, "s h d"], groups: Groups
) -> tuple[Float[Tensor, "p h l d"], Float[Tensor, "b h c d"] | None]:
    """Return prompts and completions of a row, padded with zeros on the right.

    The second is None if no completion has a token.
    """
    prompts, completions = rows[: groups.num_prompt_tokens], rows[groups.num_prompt_tokens :]
    return _padded(prompts, groups.prompts), (
        _padded(completions, groups.completions) if len(completions) else None
    )


def _padded(rows: Float[Tensor, "s h d"], mask: Bool[Tensor, "n l"]) -> Float[Tensor, "n h l d"]:
    if len(rows) < mask.numel():
        rows = rows.new_zeros(mask.numel(), *rows.shape[1:]).index_put(
            (mask.flatten().nonzero()[:, 0],), rows
        )
    return rows.reshape(*mask.shape, *rows.shape[1:]).transpose(1, 2)


def unpadded(states: Float[Tensor, "n h l d"], mask: Bool[Tensor, "n l"]) -> Float[Tensor, "s h d"]:
    """Return the states without padding, as one row."""
    return states.transpose(1, 2)[mask]


def folded(grad: Float[Tensor, "n h l d"], heads: int) -> Float[Tensor, "n k l d"]:
    """Sum gradients over the query heads that share keys or values."""
    return grad if grad.shape[1] == heads else grad.unflatten(1, (heads, -1)).sum(2)
