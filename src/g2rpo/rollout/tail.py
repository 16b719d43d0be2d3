"""How `rollout=hf` calls the policy for single tokens after prompts that a prefill has read."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from g2rpo.policy.prefix_attention import use_prefix_attention
from g2rpo.policy.prefix_cache import PrefixCache, cache_argument


class SharedTail:
    """Decodes single tokens with one copy of each prompt's keys and values."""

    def __init__(self, policy: Any, cache: PrefixCache) -> None:
        use_prefix_attention(policy)
        self.policy, self.cache = policy, cache
        self.select = cache.select

    def step(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, "*a n 1"]
    ) -> Float[Tensor, "n d"]:
        """Return the last hidden state of one more token per row."""
        output = self.policy.model(
            input_ids=tokens[:, None],
            position_ids=positions,
            behind=self.cache,
            use_cache=True,
            **cache_argument(self.policy.model, self.cache),
        )
        return output.last_hidden_state[:, -1]


class RepeatedTail:
    """Decodes single tokens with a prompt's keys and values repeated for its group.

    Used for policies whose attention `PrefixCache` does not support.
    """

    def __init__(
        self, policy: Any, prompts: DynamicCache, mask: Int[Tensor, "p l"], group_size: int
    ) -> None:
        # `reorder_cache` is what every kind of layer has; states of linear attention have no other.
        rows = torch.arange(len(mask), device=mask.device).repeat_interleave(group_size)
        prompts.reorder_cache(rows)
        self.policy, self.cache, self.mask = policy, prompts, mask.repeat_interleave(group_size, 0)

    def select(self, rows: Int[Tensor, " m"]) -> None:
        """Keep only these rows."""
        self.cache.reorder_cache(rows)
        self.mask = self.mask[rows]

    def step(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, "*a n 1"]
    ) -> Float[Tensor, "n d"]:
        """Return the last hidden state of one more token per row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        output = self.policy.model(
            input_ids=tokens[:, None],
            attention_mask=self.mask,
            position_ids=positions,
            use_cache=True,
            **cache_argument(self.policy.model, self.cache),
        )
        return output.last_hidden_state[:, -1]
