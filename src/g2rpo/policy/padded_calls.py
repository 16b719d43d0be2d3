"""Attention calls over padded rows: any device, any dtype.

    prompts        [n, heads, l, d], causal
    far            [n, kv_heads, times * c, d] x [n, kv_heads, l, d]: the query heads that share
                   a key are further queries
    near           [n, heads, c, d], causal, with one key per query head

Each call is made once per bucket of segments of similar length (`length_buckets.py`). On a CPU they
are calls of torch's flash kernel, elsewhere matrix products, which hold the scores of one layer in
memory. The latter serve float32 on a GPU, because its flash kernels know half precision only. They
also serve short causal segments on a CPU, because the flash kernel takes a while to start on each
segment and head, and cannot share keys among query heads if it is causal.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.policy.length_buckets import Bucket, Padded, buckets
from g2rpo.policy.shared_prefix import Groups

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
SHORT = 32
"""Maximum length of causal segments that products serve on a CPU. With two threads they were faster
up to 31 tokens, with one thread up to 14.
"""


class Kernel(NamedTuple):
    """How a bucket is computed; both have the arguments of torch's flash kernel for the CPU."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]


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
        self._on_cpu = query.device.type == "cpu"

    def forward(self, part: str) -> tuple[Tensor, Tensor]:
        """Return output [n, heads, d] and log-sum-exp [n, heads] of a part."""
        states, parts, causal = self._parts[part]
        query = states[0]
        out, lse = torch.empty_like(query), None
        for bucket in parts:
            kernel, times = self._kernel(bucket, causal)
            padded, mask = self._inputs(states, bucket, causal, times)
            found = kernel.forward(*padded, 0.0, causal, attn_mask=mask, scale=self.scale)
            if lse is None:
                lse = found[1].new_empty(query.shape[:2])
            out = _filled(out, bucket.queries, _unfolded(found[0], times))
            lse = _filled(lse, bucket.queries, _unfolded(found[1][..., None], times)[..., 0])
        assert lse is not None
        return out, lse

    def backward(
        self, part: str, grad: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients in the shapes of a part's states: one per key, not per query head."""
        states, parts, causal = self._parts[part]
        grads = [torch.empty_like(states[0]), *(torch.zeros_like(keys) for keys in states[1:])]
        for bucket in parts:
            kernel, times = self._kernel(bucket, causal)
            padded, mask = self._inputs(states, bucket, causal, times)
            of_out = _gathered(grad, bucket.queries)
            if bucket.queries.blank is not None:  # padding repeats tokens, and must add nothing
                of_out = of_out.masked_fill(bucket.queries.blank[..., None, None], 0.0)
            upstream = _folded(of_out, times), *padded
            results = (
                _folded(_gathered(out, bucket.queries), times),
                _folded(_gathered(lse[..., None], bucket.queries), times)[..., 0],
            )
            found = kernel.backward(
                *upstream, *results, 0.0, causal, attn_mask=mask, scale=self.scale
            )
            grads = [
                _filled(grads[0], bucket.queries, _unfolded(found[0], times)),
                *(
                    _filled(whole, bucket.keys, self._of_keys(of_keys, times))
                    for whole, of_keys in zip(grads[1:], found[1:], strict=True)
                ),
            ]
        return grads[0], grads[1], grads[2]

    def _kernel(self, bucket: Bucket, causal: bool) -> tuple[Kernel, int]:
        """Choose what computes a bucket, and how many query heads it takes as further queries."""
        if not self._on_cpu or (causal and bucket.keys.places.shape[1] <= SHORT):
            return PRODUCTS, self.times
        return FLASH, 1 if causal else self.times

    def _inputs(
        self, states: list[Tensor], bucket: Bucket, causal: bool, times: int
    ) -> tuple[list[Tensor], Tensor | None]:
        """Return padded queries, keys and values [n, heads, l, d], and what is added to scores."""
        query = _folded(_gathered(states[0], bucket.queries), times)
        keys = [_gathered(rows, bucket.keys) for rows in states[1:]]
        if times < self.times:
            keys = [rows.repeat_interleave(self.times, 2) for rows in keys]
        mask: Tensor | None = None
        if not causal and bucket.keys.blank is not None:
            mask = torch.zeros(bucket.keys.blank.shape, dtype=query.dtype, device=query.device)
            mask = mask.masked_fill_(bucket.keys.blank, float("-inf"))[:, None, None]
        return [query, *(rows.transpose(1, 2) for rows in keys)], mask

    def _of_keys(self, grad: Float[Tensor, "n h l d"], times: int) -> Float[Tensor, "n l k d"]:
        """Sum gradients over the query heads that share keys, unless the kernel has done so."""
        if times < self.times:
            grad = grad.unflatten(1, (-1, self.times)).sum(2)
        return grad.transpose(1, 2)


def _folded(rows: Float[Tensor, "n l h d"], times: int) -> Float[Tensor, "n k tl d"]:
    """Take query heads that share keys, `times` each, as further queries of one head."""
    if times == 1:
        return rows.transpose(1, 2)
    return rows.unflatten(2, (-1, times)).permute(0, 2, 3, 1, 4).flatten(2, 3)


def _unfolded(rows: Float[Tensor, "n k tl d"], times: int) -> Float[Tensor, "n l h d"]:
    """Undo `_folded`."""
    if times == 1:
        return rows.transpose(1, 2)
    return rows.unflatten(2, (times, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)


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
    query: Float[Tensor, "n k q d"],
    key: Float[Tensor, "n k l d"],
    value: Float[Tensor, "n k l d"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Float[Tensor, "n k q d"], Float[Tensor, "n k q"]]:
    """Return attention and log-sum-exp by matrix products, with the arguments of the CPU kernel.

    If it is causal there may be several queries per key: those of all positions for one query head,
    then those for the next.
    """
    scores = _scores(query, key, causal, attn_mask, scale)
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(-1, keepdim=True)
    out = weights.div_(total).to(value) @ value
    return out, largest.add_(total.log_())[..., 0]


def products_backward(
    grad: Float[Tensor, "n k q d"],
    query: Float[Tensor, "n k q d"],
    key: Float[Tensor, "n k l d"],
    value: Float[Tensor, "n k l d"],
    out: Float[Tensor, "n k q d"],
    lse: Float[Tensor, "n k q"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `products`; `out` and `lse` may be those of a larger softmax."""
    key = key.contiguous()  # once for both of its products
    probs = _scores(query, key, causal, attn_mask, scale).sub_(lse[..., None]).exp_()
    mean = torch.linalg.vecdot(grad.to(lse), out.to(lse))[..., None]
    of_probs = (grad @ value.mT).to(lse)
    of_scores = (probs * (of_probs - mean)).mul_(scale).to(query)
    return of_scores @ key, of_scores.mT @ query, probs.to(value).mT @ grad


def _scores(
    query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> Float[Tensor, "n k q l"]:
    product = query @ key.mT
    scores = product.to(torch.promote_types(product.dtype, torch.float32)).mul_(scale)
    if causal:
        length = scores.shape[-1]
        later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill_(later.repeat(scores.shape[-2] // length, 1), float("-inf"))
    return scores if mask is None else scores.add_(mask)


FLASH = Kernel(flash, flash_backward)
PRODUCTS = Kernel(products, products_backward)
