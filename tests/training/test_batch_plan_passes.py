"""Ranks without enough passes make some over two tokens."""

from typing import Any

import pytest
import torch

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.training import batch_plan as passes
from g2rpo.training.batch_plan import filler, padded


def test_a_policy_that_is_not_sharded_makes_only_its_own_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert padded(torch.nn.Linear(1, 1), ["a", "b"]) == ["a", "b"]
    with monkeypatch.context() as patch:
        patch.setattr(passes.ranks, "all_reduce_max", lambda own: own + 1)
        assert padded(torch.nn.Linear(1, 1), ["a", "b"]) == ["a", "b"]


def test_a_sharded_policy_makes_as_many_passes_as_the_rank_with_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "is_sharded", lambda policy: True)
    monkeypatch.setattr(passes.ranks, "all_reduce_max", lambda own: own.clamp(min=3))
    assert padded(None, ["a"]) == ["a", None, None]
    assert padded(None, []) == [None] * 3
    assert padded(None, ["a", "b", "c", "d"]) == ["a", "b", "c", "d"]


def test_a_filler_is_a_prompt_and_a_completion_of_one_ordinary_token(
    policy: Any, encoder: QwenEncoder
) -> None:
    forbidden = (0, *encoder.forbidden_token_ids)
    batch, ids, mask = filler(policy, forbidden)
    stats = token_stats(policy, batch, ids, mask, forbidden=forbidden)
    assert batch.input_ids.tolist() == ids.tolist()
    assert ids.shape == (1, 1)
    assert int(ids) not in forbidden
    assert stats.logprobs.isfinite().all()
