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

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.policy.attention_products import products, products_backward
from g2rpo.policy.length_buckets import Padded, buckets
from g2rpo.policy.shared_prefix import Groups

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
SHORT = 32
"""Maximum length in tokens of causal segments that products serve on a CPU.

It is a compromise, because fewer threads favor the flash kernel; `python perf/short_attention.py`
measures both.
"""


class Kernel(NamedTuple):
    """How a bucket is computed; both have the arguments of torch's flash kernel for the CPU."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]


FLASH = Kernel(flash, flash_backward)
PRODUCTS = Kernel(products, products_backward)


class Vectors(NamedTuple):
    """Vectors of a bucket's tokens, [n, heads, l], among those of a row, [tokens * heads]."""

    places: Int[Tensor, " m"]
    """Where each vector is; padding repeats that of a token."""
    blank: Bool[Tensor, "n 1 l 1"] | None
    """True at padding; None if nothing is padded."""
    shape: tuple[int, int, int]


class Bucket(NamedTuple):
    """Queries and keys of segments of similar length."""

    queries: Vectors
    keys: Vectors
    mask: Tensor | None
    """What is added to scores [n, heads, q, l]: minus infinity at padded keys; None if none is."""


class Buckets(NamedTuple):
    """All buckets of a part of the attention, and where to find the vectors of its tokens."""

    each: list[Bucket]
    queries: Int[Tensor, " n"]
    """Place of each query's vectors among those of all buckets, one bucket after another."""
    keys: Int[Tensor, " n"]
    """The same for keys. Those that no bucket has get the place behind the last one."""


class Part(NamedTuple):
    """One of the three parts of a row's attention."""

    states: list[Tensor]
    """Queries, keys and values of its tokens: [n, heads, d]."""
    buckets: Buckets
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
        found = groups.derived(_buckets(query.shape[1], key.shape[1]))
        self._parts = {
            "prompts": Part(prompts, found["prompts"], True),
            "far": Part([completions[0], *prompts[1:]], found["far"], False),
            "near": Part(completions, found["near"], True),
        }
        self._on_cpu = query.device.type == "cpu"

    def forward(self, part: str) -> tuple[Tensor, Tensor]:
        """Return output [n, heads, d] and log-sum-exp [n, heads] of a part."""
        states, buckets, causal = self._parts[part]
        found = []
        for bucket in buckets.each:
            kernel, times = self._kernel(bucket, causal)
            inputs = self._inputs(states, bucket, times)
            mask = self._mask(bucket, states[0])
            found.append(kernel.forward(*inputs, 0.0, causal, attn_mask=mask, scale=self.scale)[:2])
        out, lse = zip(*found, strict=True)
        return (
            _joined(out, buckets.queries).view(states[0].shape),
            _joined([part[..., None] for part in lse], buckets.queries).view(states[0].shape[:2]),
        )

    def backward(
        self, part: str, grad: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients in the shapes of a part's states: one per key, not per query head."""
        states, buckets, causal = self._parts[part]
        found: tuple[list[Tensor], ...] = ([], [], [])
        for bucket in buckets.each:
            kernel, times = self._kernel(bucket, causal)
            of_out, own_out, own_lse = (
                _taken(rows, bucket.queries) for rows in (grad, out, lse[..., None])
            )
            if bucket.queries.blank is not None:  # padding repeats tokens, and must add nothing
                of_out.masked_fill_(bucket.queries.blank, 0.0)
            grads = kernel.backward(
                _folded(of_out, times),
                *self._inputs(states, bucket, times),
                _folded(own_out, times),
                _folded(own_lse, times)[..., 0],
                0.0,
                causal,
                attn_mask=self._mask(bucket, states[0]),
                scale=self.scale,
            )
            if times < self.times:  # there is one for each of the query heads that share a key
                grads = grads[0], *(of.unflatten(1, (-1, self.times)).sum(2) for of in grads[1:])
            for parts, of_part in zip(found, grads, strict=True):
                parts.append(of_part)
        places = buckets.queries, buckets.keys, buckets.keys
        query, key, value = (
            _joined(*one).view(rows.shape) for *one, rows in zip(found, places, states, strict=True)
        )
        return query, key, value

    def _kernel(self, bucket: Bucket, causal: bool) -> tuple[Kernel, int]:
        """Choose what computes a bucket, and how many query heads it takes as further queries."""
        if not self._on_cpu or (causal and bucket.keys.shape[2] <= SHORT):
            return PRODUCTS, self.times
        return FLASH, 1 if causal else self.times

    def _inputs(self, states: list[Tensor], bucket: Bucket, times: int) -> list[Tensor]:
        """Return padded queries, keys and values."""
        keys = [_taken(rows, bucket.keys) for rows in states[1:]]
        if times < self.times:
            keys = [rows.repeat_interleave(self.times, 1) for rows in keys]
        return [_folded(_taken(states[0], bucket.queries), times), *keys]

    def _mask(self, bucket: Bucket, states: Tensor) -> Tensor | None:
        return None if bucket.mask is None else bucket.mask.to(states.dtype)


def _taken(rows: Float[Tensor, "s h d"], places: Vectors) -> Float[Tensor, "n h l d"]:
    """Return the vectors of a bucket."""
    return rows.flatten(0, 1).index_select(0, places.places).view(*places.shape, -1)


def _joined(
    parts: Sequence[Float[Tensor, "... d"]], places: Int[Tensor, " n"]
) -> Float[Tensor, "n d"]:
    """Return the vectors of a row from those of its buckets; 0 where no bucket has one."""
    flat = [part.reshape(-1, part.shape[-1]) for part in parts]
    return torch.cat([*flat, torch.zeros_like(flat[0][:1])]).index_select(0, places)


def _folded(rows: Float[Tensor, "n h l d"], times: int) -> Float[Tensor, "n k tl d"]:
    """Take query heads that share keys, `times` each, as further queries of one head."""
    return rows.unflatten(1, (-1, times)).flatten(2, 3)


@functools.cache
def _buckets(heads: int, kv_heads: int) -> Callable[[Groups], dict[str, Buckets]]:
    """Return the function that sorts the segments of a row into buckets, by part."""

    def sorted_by_part(groups: Groups) -> dict[str, Buckets]:
        prompts, completions = groups.prompt_lengths, groups.completion_lengths
        parts = {
            "prompts": (prompts, None),
            # the completions of a prompt are consecutive: one segment, which attends to the prompt
            "far": (groups.tokens_behind, prompts),
            "near": (completions, None),
        }
        found = {}
        for name, (queries, keys) in parts.items():
            each = [
                Bucket(
                    _vectors(one.queries, heads),
                    _vectors(one.keys, kv_heads),
                    _mask(one.keys) if name == "far" else None,
                )
                for one in buckets(queries, keys, groups.device)
            ]
            found[name] = Buckets(
                each,
                _inverse([one.queries for one in each], sum(queries) * heads, groups.device),
                _inverse(
                    [one.keys for one in each], sum(keys or queries) * kv_heads, groups.device
                ),
            )
        return found

    return sorted_by_part


def _vectors(segments: Padded, heads: int) -> Vectors:
    n, length = segments.places.shape
    each = torch.arange(heads, device=segments.places.device)[:, None]
    places = segments.places[:, None] * heads + each
    blank = None if segments.blank is None else segments.blank[:, None, :, None]
    return Vectors(places.flatten(), blank, (n, heads, length))


def _inverse(parts: list[Vectors], vectors: int, device: torch.device) -> Int[Tensor, " n"]:
    """Return where each vector of a row is among those of its buckets."""
    total = sum(len(part.places) for part in parts)
    inverse = torch.full((vectors,), total, device=device)
    start = 0
    for part in parts:
        own = torch.arange(start, start + len(part.places), device=device)
        places = part.places
        if part.blank is not None:
            real = ~part.blank.expand(*part.shape, 1).flatten()
            own, places = own[real], places[real]
        inverse[places] = own
        start += len(part.places)
    return inverse


def _mask(keys: Padded) -> Float[Tensor, "n 1 1 l"] | None:
    if keys.blank is None:
        return None
    mask = torch.zeros(keys.blank.shape, device=keys.blank.device)
    return mask.masked_fill_(keys.blank, float("-inf"))[:, None, None]
