"""How a rollout batch is cut: nothing lost, nothing twice."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.training.batch_plan import BatchPlan


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 99))
def test_every_prompt_is_in_exactly_one_minibatch_of_nearly_equal_size(
    prompts: int, parts: int, seed: int
) -> None:
    plan = BatchPlan(prompts_per_step=30, group_size=2, num_minibatches=parts)
    cut = plan.minibatches(prompts, Random(seed))
    assert sorted(row for part in cut for row in part) == list(range(prompts))
    sizes = [len(part) for part in cut]
    assert max(sizes) - min(sizes) <= 1
    assert len(cut) == min(parts, prompts)


def test_minibatches_are_dealt_out_at_random_and_the_same_for_the_same_seed() -> None:
    plan = BatchPlan(prompts_per_step=12, group_size=2, num_minibatches=3)
    assert plan.minibatches(12, Random(1)) == plan.minibatches(12, Random(1))
    assert plan.minibatches(12, Random(1)) != plan.minibatches(12, Random(2))
    assert plan.minibatches(12, Random(1))[0] != [0, 1, 2, 3]


def test_a_single_minibatch_keeps_the_order_and_draws_nothing() -> None:
    rng = Random(5)
    before = rng.getstate()
    assert BatchPlan(prompts_per_step=4, group_size=2).minibatches(3, rng) == [[0, 1, 2]]
    assert rng.getstate() == before


def test_microbatches_are_pieces_of_the_minibatch_in_order() -> None:
    assert BatchPlan(prompts_per_step=5, group_size=2, micro_batch_prompts=2).microbatches(
        [7, 3, 4, 9, 1], [1] * 10
    ) == [[7, 3], [4, 9], [1]]
    assert BatchPlan(prompts_per_step=5, group_size=2).microbatches([7, 3, 4], [1] * 10) == [
        [7, 3, 4]
    ]


def test_micro_tokens_deal_groups_out_evenly_and_never_beyond_the_bound() -> None:
    plan = BatchPlan(prompts_per_step=6, group_size=2, micro_batch_tokens=10)
    # 24 tokens need three passes: 7, then 6, then 5, then 4 to the 5 and 2 to the 6
    assert plan.microbatches([0, 1, 2, 3, 4], [5, 7, 4, 6, 2]) == [[0, 2], [1], [3, 4]]
    # a group beyond the bound passes alone; the others are not held up by it
    assert plan.microbatches([0, 2, 3], [12, 99, 3, 4]) == [[0], [2, 3]]
    assert plan.microbatches([], []) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=15), st.integers(1, 40))
def test_every_group_is_in_exactly_one_pass(tokens: list[int], most: int) -> None:
    pieces = BatchPlan(prompts_per_step=20, group_size=2, micro_batch_tokens=most).microbatches(
        list(range(len(tokens))), tokens
    )
    assert sorted(row for piece in pieces for row in piece) == list(range(len(tokens)))
    assert all(len(piece) == 1 or sum(tokens[row] for row in piece) <= most for piece in pieces)


def test_groups_are_split_evenly_and_only_where_they_do_not_fit() -> None:
    group = [10, 11, 12, 13, 14, 15, 16, 17]
    plan = BatchPlan(prompts_per_step=6, group_size=8, completions_per_row=3)
    assert plan.split(group, 1) == [[10, 11], [12, 13, 14], [15, 16, 17]]
    assert plan.split(group[:3], 1) == [[10, 11, 12]]
    assert BatchPlan(prompts_per_step=6, group_size=8).split(group, 10**6) == [group]
    plan = BatchPlan(
        prompts_per_step=6, group_size=8, completions_per_row=4, micro_batch_tokens=100
    )
    assert plan.split(group, 100) == [group]
    assert plan.split(group, 101) == [group[:4], group[4:]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"prompts_per_step": 0},
            r"batch\.prompts_per_step: expected at least 1 prompt per step, got 0",
        ),
        ({"group_size": 1}, r"batch\.group_size=1: .* needs at least 2"),
        (
            {"num_minibatches": 5},
            r"batch\.num_minibatches: expected 1 to batch\.prompts_per_step=4, got 5",
        ),
        ({"num_minibatches": 0}, r"batch\.num_minibatches: .* got 0"),
        (
            {"micro_batch_tokens": 0},
            r"batch\.micro_batch_tokens: expected null or at least 1 token, got 0",
        ),
        (
            {"micro_batch_tokens": 9, "micro_batch_prompts": 1},
            r"batch\.micro_batch_tokens=9, batch\.micro_batch_prompts=1: both cut a minibatch",
        ),
        (
            {"completions_per_row": 0},
            r"batch\.completions_per_row: expected null or at least 1 completion, got 0",
        ),
        (
            {"micro_batch_prompts": 0},
            r"batch\.micro_batch_prompts: expected null or at least 1 prompt, got 0",
        ),
    ],
)
def test_sizes_that_make_no_sense_are_refused_with_their_key(
    wrong: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BatchPlan(**({"prompts_per_step": 4, "group_size": 2} | wrong))


def test_tasks_may_have_a_group_size_of_their_own() -> None:
    plan = BatchPlan(prompts_per_step=4, group_size=8, group_size_of={"math": 16, "chart": None})
    assert plan.group_sizes(["chart", "math"]) == {"chart": 8, "math": 16}
    others = BatchPlan(
        prompts_per_step=4, group_size=8, group_size_of={"math": 16, "chart": None, "default": 3}
    )
    assert others.group_sizes(["chart", "math", "gui"]) == {"chart": 3, "math": 16, "gui": 3}
    with pytest.raises(ValueError, match=r"batch\.group_size_of\.math=1: a group needs at least 2"):
        BatchPlan(prompts_per_step=4, group_size=8, group_size_of={"math": 1})
    with pytest.raises(ValueError, match=r"batch\.group_size_of: .*'macro', which stands"):
        BatchPlan(prompts_per_step=4, group_size=8, group_size_of={"macro": 4})
