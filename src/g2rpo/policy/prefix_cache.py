"""Key-value cache for sampling, which holds each prompt once for its whole group.

A decoding step is limited by reading the cache, so prompts are neither repeated nor copied. The
attention is computed in two parts, which are merged by their log-sum-exp:

    to the prompt        one matrix product per prompt, with completions and query heads as rows:
                         [p, kv, w * r, d] x [p, kv, l, d]
    to its own tokens    one matrix product per completion: [n, kv, r, d] x [n, kv, t, d]
"""

import functools
import inspect
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from g2rpo.policy.forward import computed
from g2rpo.policy.padded_calls import flash

ROOM = 32
"""Initial capacity in tokens, which is doubled when it is full."""


def cache_argument(model: Any, cache: Any) -> dict[str, Any]:
    """Return `cache` under the name that the model's `forward` has for its key-value cache.

    transformers renamed `past_key_values` to `cache` in 5.24 and warns of the former name.
    """
    return {_cache_name(type(model)): cache}


@functools.cache
def _cache_name(kind: type[nn.Module]) -> str:
    known = inspect.signature(kind.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


class PrefixCache:
    """A cache with the interface of transformers, for decoding single tokens after shared prompts.

    It requires `prefix_attention`: call the policy with it as `behind=` and under the name that
    `cache_argument` finds.

    Args:
        prompts: Cache filled by the prefill, with one row per prompt.
        mask: True at the real tokens of the prompts, False at padding.
        group_size: Number of completions per prompt; rows are grouped by prompt.
    """

    unwritten: Bool[Tensor, "1 1 1 t"] | None = None
    """True where the keys that `update` returns hold no token; None if all hold one."""

    def __init__(self, *, prompts: Any, mask: Bool[Tensor, "p l"], group_size: int) -> None:
        # under autocast the keys leave their norm in float32, and DynamicCache follows them
        self.prompts = [(computed(layer.keys), computed(layer.values)) for layer in prompts.layers]
        self.blank = None if mask.all() else ~mask[:, None, None]
        self.owner = torch.arange(len(mask), device=mask.device).repeat_interleave(group_size)
        self.written = 0
        self._own: list[tuple[Tensor, Tensor]] = []
        self._arrange()

    def update(
        self,
        key: Float[Tensor, "n k 1 d"],
        value: Float[Tensor, "n k 1 d"],
        layer: int,
        *_: Any,
        **__: Any,
    ) -> tuple[Float[Tensor, "n k t d"], Float[Tensor, "n k t d"]]:
        """Store one token per row; return keys and values of all tokens of the completions."""
        key, value = computed(key), computed(value)
        if layer == len(self._own):
            self._own.append((_room(key, ROOM), _room(value, ROOM)))
        own = self._own[layer]
        if self.written == own[0].shape[2]:
            own = self._own[layer] = (
                _room(own[0], 2 * self.written),
                _room(own[1], 2 * self.written),
            )
        end = self.written + 1
        for room, state in zip(own, (key, value), strict=True):
            room[:, :, self.written] = state[:, :, 0]
        if layer + 1 == len(self.prompts):
            self.written = end
        return own[0][:, :, :end], own[1][:, :, :end]

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "n h 1 d"],
        key: Float[Tensor, "n k t d"],
        value: Float[Tensor, "n k t d"],
        scale: float,
    ) -> Float[Tensor, "n 1 h d"]:
        """Return the attention of one token per row to its prompt and its own completion."""
        n, h, _, d = query.shape
        rows = query.reshape(n, key.shape[1], -1, d)
        prompt_key, prompt_value = self.prompts[layer]
        far, far_lse = self._to_prompts(self._spread(rows), prompt_key, prompt_value, scale)
        near, near_lse = _attention(rows, key, value, scale, self.unwritten)
        far, far_lse = self._gather(far), self._gather(far_lse)
        share = (far_lse - near_lse).sigmoid()
        return torch.lerp(near.float(), far.float(), share).to(query.dtype).reshape(n, 1, h, d)

    def _to_prompts(
        self,
        query: Float[Tensor, "p k wr d"],
        key: Float[Tensor, "p k l d"],
        value: Float[Tensor, "p k l d"],
        scale: float,
    ) -> tuple[Float[Tensor, "p k wr d"], Float[Tensor, "p k wr 1"]]:
        if query.device.type != "cpu":
            return _attention(query, key, value, scale, self.blank)
        # one call instead of a dozen, which take longer to start than to compute
        out, lse = flash(query, key, value, 0.0, False, attn_mask=self._mask, scale=scale)
        return out, lse[..., None]

    def select(self, rows: Int[Tensor, " m"]) -> None:
        """Keep only these rows, in their order, and only the prompts that still have rows."""
        self._own = [(keys[rows], values[rows]) for keys, values in self._own]
        kept, self.owner = self.owner[rows].unique_consecutive(return_inverse=True)
        if len(kept) < len(self.prompts[0][0]):
            self.prompts = [(keys[kept], values[kept]) for keys, values in self.prompts]
            self.blank = None if self.blank is None else self.blank[kept]
        self._arrange()

    def get_query_offset(self, layer: int = 0) -> int:
        """Cache-interface stub: single-token decoding needs no mask."""
        return self.written

    def get_mask_sizes(self, query_length: int, layer: int = 0) -> tuple[int, int]:
        """Cache-interface stub: single-token decoding needs no mask."""
        return self.written + query_length, 0

    def _arrange(self) -> None:
        """Compute each row's index in a grid [prompts, size of the largest group], and what the
        scores of prompts get added.

        `_places` is None if all groups have the same size, `_mask` if no prompt is padded.
        """
        counts = torch.bincount(self.owner)
        self.width = int(counts.max())
        first = counts.cumsum(0) - counts
        places = (
            torch.arange(len(self.owner), device=self.owner.device)
            - first[self.owner]
            + self.owner * self.width
        )
        self._places = None if len(places) == len(counts) * self.width else places
        self._mask: Tensor | None = None
        if self.blank is not None:
            self._mask = torch.zeros_like(self.blank, dtype=self.prompts[0][0].dtype)
            self._mask.masked_fill_(self.blank, float("-inf"))

    def _spread(self, rows: Float[Tensor, "n k r d"]) -> Float[Tensor, "p k wr d"]:
        _, k, r, d = rows.shape
        p = len(self.prompts[0][0])
        if self._places is not None:
            rows = rows.new_zeros(p * self.width, k, r, d).index_copy_(0, self._places, rows)
        return rows.view(p, self.width, k, r, d).transpose(1, 2).reshape(p, k, -1, d)

    def _gather(self, grid: Float[Tensor, "p k wr d"]) -> Float[Tensor, "n k r d"]:
        p, k, _, d = grid.shape
        rows = grid.view(p, k, self.width, -1, d).transpose(1, 2).reshape(p * self.width, k, -1, d)
        return rows if self._places is None else rows[self._places]


def _attention(
    query: Float[Tensor, "b k q d"],
    key: Float[Tensor, "b k s d"],
    value: Float[Tensor, "b k s d"],
    scale: float,
    blank: Bool[Tensor, "#b 1 1 s"] | None,
) -> tuple[Float[Tensor, "b k q d"], Float[Tensor, "b k q 1"]]:
    """Return softmax attention and its log-sum-exp."""
    scores = (query @ key.transpose(-1, -2)).float().mul_(scale)
    if blank is not None:
        scores.masked_fill_(blank, float("-inf"))
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(-1, keepdim=True)
    return weights.div_(total).to(value.dtype) @ value, largest.add_(total.log_())


def _room(state: Float[Tensor, "n k t d"], tokens: int) -> Float[Tensor, "n k s d"]:
    """Copy the states into a tensor with capacity for `tokens`; the rest is uninitialized."""
    n, k, t, d = state.shape
    room = state.new_empty(n, k, tokens, d)
    room[:, :, :t] = state
    return room
