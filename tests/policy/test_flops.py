"""Counted by hand for two prompts; by torch's own counter for a whole pass."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.flops import Cost, cost_of, text_flops, vision_flops
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt

COST = Cost(token=1000.0, pair=1.0, patch=0.0, patch_pair=0.0, head=1e6)


def test_a_shared_prompt_is_counted_once_and_a_repeated_one_for_every_completion() -> None:
    prompt, completion, owner = (
        torch.tensor([10, 4]),
        torch.tensor([3, 1, 5, 2, 1]),
        torch.tensor([0, 0, 1, 1, 1]),
    )
    # passes without last tokens: 2, 0, 4, 1, 0; every completion token is projected: 12
    pairs = (2 * 10 + 2) + (4 * 4 + 8) + (1 * 4 + 0.5)
    assert (
        text_flops(COST, prompt, completion, owner, shared=True)
        == 1000 * (14 + 7) + (50 + 8 + pairs) + 12e6
    )
    assert (
        text_flops(COST, prompt, completion, owner, shared=False)
        == 1000 * (32 + 7) + (100 + 24 + pairs) + 12e6
    )


@torch.no_grad()
def test_a_pass_costs_what_torch_counts(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    batch = encoder.encode([prompts[1]])
    ids, mask = torch.randint(10, 200, (3, 5)), torch.ones(3, 5, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        token_stats(policy, batch, ids, mask)
    cost = cost_of(policy)
    ours = vision_flops(policy, cost, batch) + text_flops(
        cost,
        batch.attention_mask.sum(1),
        mask.sum(1),
        torch.zeros(3, dtype=torch.long),
        shared=True,
    )
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.1)
