from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from closeness import same_images
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.records import PromptBatch, Rollouts, Scores
from g2rpo.rollout.groups import (
    cat_batches,
    cat_rollouts,
    cat_scores,
    group_rows,
    select_groups,
    select_prompts,
    select_rollouts,
)

Made = Callable[..., PromptBatch]
A, B, C, D = ("a", "math", 2), ("b", "chart", 0), ("c", "spatial", 1), ("d", "math", 3)


def _assert_same(batch: PromptBatch, expected: PromptBatch) -> None:
    """Equal in everything but the width of the padding."""
    assert batch.prompts == expected.prompts
    assert torch.equal(batch.num_images, expected.num_images)
    assert same_images(batch, expected)
    surplus = batch.input_ids.shape[1] - expected.input_ids.shape[1]
    assert torch.equal(batch.input_ids[:, surplus:], expected.input_ids)
    assert torch.equal(batch.attention_mask[:, surplus:], expected.attention_mask)
    assert not batch.attention_mask[:, :surplus].any()


def _rollouts(*lengths: int, group_size: int = 2, first: int = 100) -> Rollouts:
    """Completions of given lengths; token 100 r + s is the s-th of row r."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = (first + 100 * torch.arange(len(lengths))[:, None] + torch.arange(max(lengths))).where(
        mask, 0
    )
    return Rollouts(
        completion_ids=ids,
        completion_mask=mask,
        old_logprobs=-ids / 1000,
        prompt=torch.arange(len(lengths) // group_size).repeat_interleave(group_size),
        finished=torch.tensor(lengths) % 2 == 0,
        texts=tuple(f"row {first // 100 + row}" for row in range(len(lengths))),
        weight_versions=(ids // 100).where(mask, -1),
    )


@pytest.mark.parametrize("rows", [[2, 0], [1], [3, 1, 2], [0, 1, 2, 3], [3, 3]], ids=str)
def test_selected_prompts_bring_their_own_images(rows: list[int], made: Made) -> None:
    everything = [A, B, C, D]
    _assert_same(
        select_prompts(made(*everything), torch.tensor(rows)),
        made(*(everything[row] for row in rows)),
    )


def test_prompts_without_images_have_no_pixels(made: Made) -> None:
    alone = select_prompts(made(A, B), torch.tensor([1]))
    assert alone.images == ()


@pytest.mark.parametrize(
    "parts", [[[A], [B], [C, D]], [[B], [B]], [[D, C, B], [A]], [[A, B, C]]], ids=len
)
def test_joined_batches_keep_order_images_and_left_padding(
    parts: list[list[tuple[str, str, int]]], made: Made
) -> None:
    _assert_same(
        cat_batches([made(*part) for part in parts]),
        made(*(prompt for part in parts for prompt in part)),
    )


@settings(max_examples=50, deadline=None)
@given(cut=st.integers(1, 3), order=st.permutations(range(4)))
def test_a_batch_that_is_cut_and_joined_is_the_batch(
    cut: int, order: Sequence[int], made: Made
) -> None:
    whole = made(*([A, B, C, D][row] for row in order))
    pieces = [
        select_prompts(whole, torch.tensor(rows))
        for rows in (list(range(cut)), list(range(cut, 4)))
    ]
    _assert_same(cat_batches(pieces), whole)


def test_rows_of_a_group_stand_together_in_the_order_of_the_prompts() -> None:
    assert group_rows(torch.tensor([2, 0]), torch.arange(3).repeat_interleave(3)).tolist() == [
        6,
        7,
        8,
        0,
        1,
        2,
    ]


def test_selected_groups_are_counted_from_zero_and_keep_what_belongs_to_them(made: Made) -> None:
    rollouts = _rollouts(1, 4, 2, 2, 3, 1)
    scores = Scores(
        total=torch.arange(6.0),
        parts={"accuracy": torch.arange(6.0) / 10, "format": torch.arange(6.0) / 5},
    )
    failed = torch.tensor([False, True, False, False, True, False])
    batch, picked, kept, lost = select_groups(
        made(A, B, C), rollouts, scores, failed, torch.tensor([0, 2])
    )
    _assert_same(batch, made(A, C))
    assert picked.prompt.tolist() == [0, 0, 1, 1]
    assert picked.completion_ids.tolist() == [
        [100, 0, 0, 0],
        [200, 201, 202, 203],
        [500, 501, 502, 0],
        [600, 0, 0, 0],
    ]
    assert torch.equal(picked.completion_mask, picked.completion_ids > 0)
    assert torch.equal(picked.old_logprobs, -picked.completion_ids / 1000)
    assert picked.weight_versions is not None
    assert picked.weight_versions.tolist() == [
        [1, -1, -1, -1],
        [2, 2, 2, 2],
        [5, 5, 5, -1],
        [6, -1, -1, -1],
    ]
    assert picked.finished.tolist() == [False, True, False, False]
    assert picked.texts == ("row 1", "row 2", "row 5", "row 6")
    assert kept.total.tolist() == [0.0, 1.0, 4.0, 5.0]
    assert kept.parts["format"].tolist() == pytest.approx([0.0, 0.2, 0.8, 1.0])
    assert lost.tolist() == [False, True, True, False]


def test_joined_completions_are_padded_on_the_right_and_prompts_are_counted_on() -> None:
    joined = cat_rollouts(
        [_rollouts(1, 2), _rollouts(3, 1, 1, 2, first=300), _rollouts(1, 1, first=700)]
    )
    assert joined.completion_ids.tolist() == [
        [100, 0, 0],
        [200, 201, 0],
        [300, 301, 302],
        [400, 0, 0],
        [500, 0, 0],
        [600, 601, 0],
        [700, 0, 0],
        [800, 0, 0],
    ]
    assert torch.equal(joined.completion_mask, joined.completion_ids > 0)
    assert torch.equal(joined.old_logprobs, -joined.completion_ids / 1000)
    assert joined.weight_versions is not None
    assert joined.weight_versions[:, 0].tolist() == [*range(1, 9)]
    assert ((joined.weight_versions == -1) == ~joined.completion_mask).all()
    assert joined.prompt.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert joined.finished.tolist() == [False, True, False, False, False, True, False, False]
    assert joined.texts == tuple(f"row {row}" for row in range(1, 9))


def test_without_versions_there_are_none_to_select_or_to_join() -> None:
    plain = replace(_rollouts(1, 2), weight_versions=None)
    assert cat_rollouts([plain, plain]).weight_versions is None
    assert select_rollouts(plain, torch.tensor([0])).weight_versions is None


def test_joined_scores_keep_their_order() -> None:
    parts = [
        Scores(total=torch.tensor(t), parts={"accuracy": torch.tensor(a)})
        for t, a in (([3.0, 1.0], [0.3, 0.1]), ([2.0], [0.2]))
    ]
    joined = cat_scores(parts)
    assert joined.total.tolist() == [3.0, 1.0, 2.0]
    assert joined.parts["accuracy"].tolist() == pytest.approx([0.3, 0.1, 0.2])


def test_a_part_that_only_some_batches_have_is_absent_elsewhere() -> None:
    # a plug-in reward may add a part for some answers only
    first = Scores(total=torch.ones(2), parts={"accuracy": torch.ones(2)})
    second = Scores(
        total=torch.ones(1), parts={"accuracy": torch.ones(1), "politeness": torch.tensor([0.5])}
    )
    for batches, polite in (([first, second], [2]), ([second, first], [0])):
        joined = cat_scores(batches).parts["politeness"]
        assert (~joined.isnan()).nonzero()[:, 0].tolist() == polite
        assert joined[polite].tolist() == [0.5]
