"""Lengths of prompts and sizes of forward passes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from g2rpo.data.gym.source import GymSource
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.estimate.assumptions import Assumptions
from g2rpo.training.estimate.workload import (
    bounded_lengths,
    given_lengths,
    micro_batch,
    sampled_lengths,
)


def test_a_pass_holds_prompts_once_or_once_per_completion(load: Callable) -> None:
    assert load(micro_batch_prompts=2).tokens == 2 * (20 + 3 * 4)
    assert load(micro_batch_prompts=2, shared=False).tokens == 2 * 3 * 25
    assert load(micro_batch_prompts=2).predicted == 2 * 3 * 5


def test_an_update_takes_as_many_passes_as_its_groups_fill(load: Callable) -> None:
    assert [load(prompts=9, micro_batch_prompts=size).micro_batches for size in (9, 4, 2)] == [
        1,
        3,
        5,
    ]
    assert load(prompts=8, updates=4, micro_batch_prompts=1).micro_batches == 2


def test_a_minibatch_is_cut_by_prompts_or_by_tokens() -> None:
    def cut(**sizes: Any) -> tuple[int, int]:
        plan = BatchPlan(prompts_per_step=24, group_size=4, **sizes)
        return micro_batch(24, plan, 4, 100, 100)

    assert cut() == (24, 4)
    assert cut(num_minibatches=5) == (5, 4)
    assert cut(num_minibatches=2, micro_batch_prompts=3) == (3, 4)
    assert cut(micro_batch_tokens=1700) == (3, 4)
    assert cut(micro_batch_tokens=100) == (1, 4)  # a group that is longer is a pass of its own


def test_long_groups_are_split_over_rows() -> None:
    def cut(**sizes: Any) -> tuple[int, int]:
        plan = BatchPlan(prompts_per_step=24, group_size=8, **sizes)
        return micro_batch(24, plan, 8, 100, 100)

    assert cut(completions_per_row=3, micro_batch_prompts=2) == (2, 3)
    assert cut(completions_per_row=5) == (48, 4)  # evenly: two rows for each of 24 prompts
    assert cut(completions_per_row=4, micro_batch_tokens=900) == (1, 8)  # a group fits
    assert cut(completions_per_row=4, micro_batch_tokens=899) == (1, 4)
    assert cut(completions_per_row=2, micro_batch_tokens=899) == (2, 2)


def test_passes_of_mean_lengths_are_packed_by_tokens(load: Callable) -> None:
    # 4 prompts of 10 tokens with 3 completions of 5: 100 tokens
    assert load(micro_batch_tokens=30).passes(5) == 3
    assert load(micro_batch_tokens=300, updates=2).passes(5) == 2
    assert load(micro_batch_prompts=2, row_completions=1).passes(5) == 6


def test_prompts_are_measured_as_training_encodes_them() -> None:
    encoder, source = Checkpoint.packaged(name="tiny_qwen3_vl").encoder(), GymSource()
    prompts = [source.get("chart", index, "train") for index in range(5)]
    found = sampled_lengths(prompts, encoder, source)
    batch = encoder.encode(prompts)
    assert found.longest == batch.input_ids.shape[1]
    assert found.mean == pytest.approx(batch.attention_mask.sum().item() / 5)
    assert (found.most_patches, found.mean_patches) == (64, 64.0)


def test_prompts_that_cannot_be_read_are_left_out_and_counted() -> None:
    encoder, source = Checkpoint.packaged(name="tiny_qwen3_vl").encoder(), GymSource()
    prompt: Any = source.get("math", 0, "train")
    broken = replace(prompt, images=("/nowhere.png",))
    assert sampled_lengths([prompt, broken], encoder, source).origin.endswith("1 could not be read")
    with pytest.raises(ValueError, match="none of 1 prompts can be read"):
        sampled_lengths([broken], encoder, source)


def test_bounds_stand_in_where_no_prompt_can_be_looked_at() -> None:
    found = bounded_lengths(16_384, 1_048_576, 16, "no such file")
    assert (found.longest, found.most_patches) == (16_384, 4096)
    assert "no such file" in found.origin
    with pytest.raises(
        ValueError,
        match=r"data.loading.max_prompt_tokens gives no bound; .*estimate\.prompt_tokens",
    ):
        bounded_lengths(None, 1_048_576, 16, "no such file")
    with pytest.raises(ValueError, match=r"model\.max_pixels gives no bound"):
        bounded_lengths(16_384, None, 16, "no such file")


def test_lengths_may_be_given() -> None:
    found = given_lengths(Assumptions(prompt_tokens=900, image_tokens=700), 2)
    assert found is not None
    assert (found.longest, found.mean, found.most_patches) == (900, 900, 2800)
    assert given_lengths(Assumptions(), 2) is None
