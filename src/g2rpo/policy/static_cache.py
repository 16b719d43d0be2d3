"""A `PrefixCache` whose decoding step has fixed shapes, so that a CUDA graph can hold it.

A CUDA graph repeats kernels with the addresses and numbers that they had when it was captured. So
keys and values are written into tensors of fixed capacity, and the number of tokens written so far
is itself a tensor, which each step increases. `grow` and `select` move these tensors; a graph that
was captured before is useless then.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.policy.forward import computed
from g2rpo.policy.prefix_cache import PrefixCache

CAPACITY = 128
"""Initial capacity in tokens, which is doubled when it is full. It is larger than that of
`PrefixCache`, because each doubling costs a capture.
"""


class StaticCache(PrefixCache):
    """`PrefixCache` with fixed shapes.

    Args:
        prompts: Cache filled by the prefill, with one row per prompt.
        mask: True at the real tokens of the prompts, False at padding.
        group_size: Number of completions per prompt; rows are grouped by prompt.
        limit: Maximum number of tokens that are written per row.
    """

    def __init__(
        self, *, prompts: Any, mask: Bool[Tensor, "p l"], group_size: int, limit: int
    ) -> None:
        super().__init__(prompts=prompts, mask=mask, group_size=group_size)
        self.limit = limit
        self.capacity = min(CAPACITY, limit)
        self.length = torch.zeros(1, dtype=torch.long, device=mask.device)
        """Number of tokens written per row."""
        for keys, values in self.prompts:
            self._own.append((self._zeros(keys), self._zeros(values)))
        self._arrange_columns()

    def update(
        self,
        key: Float[Tensor, "n k 1 d"],
        value: Float[Tensor, "n k 1 d"],
        layer: int,
        *_: Any,
        **__: Any,
    ) -> tuple[Float[Tensor, "n k t d"], Float[Tensor, "n k t d"]]:
        """Store one token per row; return keys and values with the whole capacity.

        `advance` must follow once all layers have stored their token.
        """
        if layer == 0:
            torch.gt(self._columns, self.length, out=self.unwritten)
        for room, state in zip(self._own[layer], (key, value), strict=True):
            room.index_copy_(2, self.length, computed(state))
        return self._own[layer]

    def advance(self) -> None:
        """Count the token that all layers have stored."""
        self.length.add_(1)

    def grow(self) -> None:
        """Double the capacity, at most to the limit."""
        old, self.capacity = self.capacity, min(2 * self.capacity, self.limit)
        for layer, own in enumerate(self._own):
            new = self._zeros(own[0]), self._zeros(own[1])
            for room, states in zip(new, own, strict=True):
                room[:, :, :old] = states
            self._own[layer] = new
        self._arrange_columns()

    def get_query_offset(self, layer: int = 0) -> int:
        """Cache-interface stub: masks of transformers are ignored, so they are kept small."""
        return 0

    def get_mask_sizes(self, query_length: int, layer: int = 0) -> tuple[int, int]:
        """Cache-interface stub: masks of transformers are ignored, so they are kept small."""
        return query_length, 0

    def _zeros(self, states: Float[Tensor, "r k t d"]) -> Float[Tensor, "n k s d"]:
        """Return an empty room. It holds zeros, because attention multiplies unwritten values by 0,
        and uninitialized ones may be NaN.
        """
        _, heads, _, size = states.shape
        return states.new_zeros(len(self.owner), heads, self.capacity, size)

    def _arrange_columns(self) -> None:
        self._columns: Int[Tensor, "1 1 1 t"] = torch.arange(
            self.capacity, device=self.length.device
        )[None, None, None]
        self.unwritten = torch.ones_like(self._columns, dtype=torch.bool)
