"""Keys and values for sampling: those of a prompt once for its whole group, and those that each
completion has written so far.

A decode step reads a cache rather than computes, so what is not repeated and not copied is what
makes it fast. Its attention is one
softmax cut in two, merged by their log-sum-exp:

    to the prompt        one matrix product a prompt, its completions and their query heads being rows   [p, kv, w * r, d] x [p, kv, l, d]
    to its own tokens    one a completion                                                                [n, kv, r, d] x [n, kv, t, d]
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROOM = 32
"""Tokens that a cache has room for at first; then it doubles."""


class PrefixCache:
    """A cache as the text layers of transformers use one, for single tokens behind prompts that
    rows share.

    Needs `prefix_attention`: the policy is called with this as `past_key_values=` and as `behind=`.

    Args:
        prompts: The cache that a prefill has filled, a row per prompt.
        mask: Which tokens of the prompts are real.
        group_size: Completions per prompt; rows of one prompt stand together.
    """

    def __init__(self, *, prompts: Any, mask: Bool[Tensor, "p l"], group_size: int) -> None:
        self.prompts = [(layer.keys, layer.values) for layer in prompts.layers]
        self.blank = None if mask.all() else ~mask[:, None, None]
        self.owner = torch.arange(len(mask), device=mask.device).repeat_interleave(group_size)
        self.written = 0
        self._own: list[tuple[Tensor, Tensor]] = []
        self._arrange()

    def update(
        self, key: Float[Tensor, "n k 1 d"], value: Float[Tensor, "n k 1 d"], layer: int, *_: Any
    ) -> tuple[Float[Tensor, "n k t d"], Float[Tensor, "n k t d"]]:
        """Writes one token of every row and returns all of the rows' own; the last layer ends the
        token.
        """
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
        """Attention of one token of every row to its prompt and to what its row has written."""
        n, h, _, d = query.shape
        rows = query.reshape(n, key.shape[1], -1, d)
        prompt_key, prompt_value = self.prompts[layer]
        far, far_lse = _attention(self._spread(rows), prompt_key, prompt_value, scale, self.blank)
        near, near_lse = _attention(rows, key, value, scale, None)
        far, far_lse = self._gather(far), self._gather(far_lse)
        share = (far_lse - near_lse).sigmoid()
        return torch.lerp(near.float(), far.float(), share).to(query.dtype).reshape(n, 1, h, d)

    def select(self, rows: Int[Tensor, " m"]) -> None:
        """Keeps some rows, in their order; a prompt without any leaves too."""
        self._own = [(keys[rows], values[rows]) for keys, values in self._own]
        kept, self.owner = self.owner[rows].unique_consecutive(return_inverse=True)
        if len(kept) < len(self.prompts[0][0]):
            self.prompts = [(keys[kept], values[kept]) for keys, values in self.prompts]
            self.blank = None if self.blank is None else self.blank[kept]
        self._arrange()

    def get_query_offset(self, layer: int = 0) -> int:
        """For the mask, of which one token needs none."""
        return self.written

    def get_mask_sizes(self, query_length: int, layer: int = 0) -> tuple[int, int]:
        """For the mask, of which one token needs none."""
        return self.written + query_length, 0

    def _arrange(self) -> None:
        """Where each row stands in a grid of prompts and the rows of the largest group; None where
        no place stays empty.
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
    blank: Bool[Tensor, "b 1 1 s"] | None,
) -> tuple[Float[Tensor, "b k q d"], Float[Tensor, "b k q 1"]]:
    """Softmax attention, and the logarithm of its denominator."""
    scores = (query @ key.transpose(-1, -2)).float().mul_(scale)
    if blank is not None:
        scores.masked_fill_(blank, float("-inf"))
    lse = scores.logsumexp(-1, keepdim=True)
    return scores.sub_(lse).exp_().to(value.dtype) @ value, lse


def _room(state: Float[Tensor, "n k t d"], tokens: int) -> Float[Tensor, "n k s d"]:
    """The same states at the beginning of room for so many tokens, the rest as it comes."""
    n, k, t, d = state.shape
    room = state.new_empty(n, k, tokens, d)
    room[:, :, :t] = state
    return room
