"""Attention calls over padded rows: any device, any dtype.

    prompts        [n, heads, l, d], causal
    far            [n, kv_heads, times * c, d] x [n, kv_heads, l, d]: the query heads that share
                   a key are further queries
    near           [n, heads, c, d], causal, with one key per query head

Each call is made once per bucket of segments of similar length (`length_buckets.py`). On a CPU they
are calls of torch's flash kernel, elsewhere matrix products, which hold the scores of one layer in
memory. The latter serve float32 on a GPU: its flash kernels know half precision only.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.policy.length_buckets import Bucket, Padded, buckets
from g2rpo.policy.shared_prefix import Groups

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Part(NamedTuple):
    """One of the three parts of a row's attention."""

    states: list[Tensor]
    """Queries, keys and values of its tokens: [n, heads, d]."""
    buckets: list[Bucket]
    causal: bool


class PaddedCalls:
    """Makes the calls for one packed row; see `shared_softmax.Calls`.

    States and outputs are [n, heads, d] as in the row, log-sum-exps [n, heads].
    """

    def __init__(
        self,
        groups: Groups,
        query: Float[Tensor, "s h d"],
        key: Float[Tensor, "s k d"],
        value: Float[Tensor, "s k d"],
        scale: float,
    ) -> None:
        self.scale, num = scale, groups.num_prompt_tokens
        self.times = query.shape[1] // key.shape[1]
        prompts = [states[:num] for states in (query, key, value)]
        completions = [states[num:] for states in (query, key, value)]
        self._parts = {
            "prompts": Part(prompts, groups.derived(_of_prompts), True),
            "far": Part([completions[0], *prompts[1:]], groups.derived(_far), False),
            "near": Part(completions, groups.derived(_near), True),
        }
        self._ops = (
            (flash, flash_backward) if query.device.type == "cpu" else (products, products_backward)
        )

    def forward(self, part: str) -> tuple[Tensor, Tensor]:
        """Return output [n, heads, d] and log-sum-exp [n, heads] of a part."""
        states, parts, causal = self._parts[part]
        query = states[0]
        out, lse = torch.empty_like(query), None
        for bucket in parts:
            padded, mask = self._inputs(states, bucket, causal)
            found = self._ops[0](*padded, 0.0, causal, attn_mask=mask, scale=self.scale)
            if lse is None:
                lse = found[1].new_empty(query.shape[:2])
            out = _filled(out, bucket.queries, self._unfolded(found[0], causal))
            lse = _filled(lse, bucket.queries, self._unfolded(found[1][..., None], causal)[..., 0])
        assert lse is not None
        return out, lse

    def backward(
        self, part: str, grad: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients in the shapes of a part's states: one per key, not per query head."""
        states, parts, causal = self._parts[part]
        grads = [torch.empty_like(states[0]), *(torch.zeros_like(keys) for keys in states[1:])]
        for bucket in parts:
            padded, mask = self._inputs(states, bucket, causal)
            of_out = _gathered(grad, bucket.queries)
            if bucket.queries.blank is not None:  # padding repeats tokens, and must add nothing
                of_out = of_out.masked_fill(bucket.queries.blank[..., None, None], 0.0)
            upstream = self._folded(of_out, causal), *padded
            results = (
                self._folded(_gathered(out, bucket.queries), causal),
                self._folded(_gathered(lse[..., None], bucket.queries), causal)[..., 0],
            )
            found = self._ops[1](*upstream, *results, 0.0, causal, attn_mask=mask, scale=self.scale)
            grads = [
                _filled(grads[0], bucket.queries, self._unfolded(found[0], causal)),
                *(
                    _filled(whole, bucket.keys, self._of_keys(of_keys, causal))
                    for whole, of_keys in zip(grads[1:], found[1:], strict=True)
                ),
            ]
        return grads[0], grads[1], grads[2]

    def _inputs(
        self, states: list[Tensor], bucket: Bucket, causal: bool
    ) -> tuple[list[Tensor], Tensor | None]:
        """Return padded queries, keys and values [n, heads, l, d], and what is added to scores."""
        query = self._folded(_gathered(states[0], bucket.queries), causal)
        keys = [_gathered(rows, bucket.keys) for rows in states[1:]]
        if causal and self.times > 1:
            keys = [rows.repeat_interleave(self.times, 2) for rows in keys]
        mask: Tensor | None = None
        if not causal and bucket.keys.blank is not None:
            mask = torch.zeros(bucket.keys.blank.shape, dtype=query.dtype, device=query.device)
            mask = mask.masked_fill_(bucket.keys.blank, float("-inf"))[:, None, None]
        return [query, *(rows.transpose(1, 2) for rows in keys)], mask

    def _folded(self, rows: Float[Tensor, "n l h d"], causal: bool) -> Float[Tensor, "n k tl d"]:
        """Take heads that share keys as further queries, which a causal part does not allow."""
        if causal or self.times == 1:
            return rows.transpose(1, 2)
        return rows.unflatten(2, (-1, self.times)).permute(0, 2, 3, 1, 4).flatten(2, 3)

    def _unfolded(self, rows: Float[Tensor, "n k tl d"], causal: bool) -> Float[Tensor, "n l h d"]:
        """Undo `_folded`."""
        if causal or self.times == 1:
            return rows.transpose(1, 2)
        return rows.unflatten(2, (self.times, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)

    def _of_keys(self, grad: Float[Tensor, "n h l d"], causal: bool) -> Float[Tensor, "n l k d"]:
        """Sum gradients over the query heads that share keys."""
        if causal and self.times > 1:
            grad = grad.unflatten(1, (-1, self.times)).sum(2)
        return grad.transpose(1, 2)


def _of_prompts(groups: Groups) -> list[Bucket]:
    return buckets(groups.prompt_lengths, None, groups.device)


def _far(groups: Groups) -> list[Bucket]:
    """The completions of a prompt are consecutive: one segment, which attends to the prompt."""
    return buckets(groups.tokens_behind, groups.prompt_lengths, groups.device)


def _near(groups: Groups) -> list[Bucket]:
    return buckets(groups.completion_lengths, None, groups.device)


def _gathered(rows: Float[Tensor, "s h *d"], segments: Padded) -> Float[Tensor, "n l h *d"]:
    if segments.whole:
        return rows.reshape(*segments.places.shape, *rows.shape[1:])
    flat = rows.index_select(0, segments.places.flatten())
    return flat.view(*segments.places.shape, *rows.shape[1:])


def _filled(
    rows: Float[Tensor, "s h *d"], segments: Padded, states: Float[Tensor, "n l h *d"]
) -> Float[Tensor, "s h *d"]:
    """Write the states of segments to their places in a row, in place where others stay."""
    flat = states.flatten(0, 1)
    if segments.whole:
        return flat
    if segments.real is not None:
        flat = flat.index_select(0, segments.real)
    return rows.index_copy_(0, segments.rows, flat)


def products(
    query: Float[Tensor, "n h q d"],
    key: Float[Tensor, "n h l d"],
    value: Float[Tensor, "n h l d"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Float[Tensor, "n h q d"], Float[Tensor, "n h q"]]:
    """Return attention and log-sum-exp by matrix products, with the arguments of the CPU kernel."""
    scores = _scores(query, key, causal, attn_mask, scale)
    lse = scores.logsumexp(-1)
    return (scores - lse[..., None]).exp().to(value) @ value, lse


def products_backward(
    grad: Float[Tensor, "n h q d"],
    query: Float[Tensor, "n h q d"],
    key: Float[Tensor, "n h l d"],
    value: Float[Tensor, "n h l d"],
    out: Float[Tensor, "n h q d"],
    lse: Float[Tensor, "n h q"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `products`; `out` and `lse` may be those of a larger softmax."""
    probs = (_scores(query, key, causal, attn_mask, scale) - lse[..., None]).exp()
    mean = (grad.to(lse) * out.to(lse)).sum(-1, keepdim=True)
    of_scores = (probs * ((grad @ value.mT).to(lse) - mean) * scale).to(query)
    return of_scores @ key, of_scores.mT @ query, probs.to(value).mT @ grad


def _scores(
    query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> Float[Tensor, "n h q l"]:
    product = query @ key.mT
    scores = product.to(torch.promote_types(product.dtype, torch.float32)) * scale
    if causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        return scores.masked_fill(ones.triu(1), float("-inf"))
    return scores if mask is None else scores + mask.to(scores)
