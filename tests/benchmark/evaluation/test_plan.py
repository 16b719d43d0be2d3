"""Which rows are asked: whole groups, the same for the same seed, and unusable records by name."""

from itertools import pairwise
from typing import Any

import pytest

from g2rpo.benchmark.evaluation.plan import draw_groups, make_plan


def planned(world: Any, records: list[Any], **options: Any) -> Any:
    options = {"limit": None, "seed": 0, "max_unusable_frac": 0.5} | options
    return make_plan(world.Sums(), world.Listed(sums=records), **options)


def test_rows_of_a_group_stand_together_in_the_order_of_their_first(world: Any) -> None:
    records = [
        world.record(1),
        world.record(2, block="x"),
        world.record(3),
        world.record(4, block="x"),
    ]
    plan = planned(world, records)
    assert [[row["id"] for row in group] for group in plan.groups] == [[1], [2, 4], [3]]
    assert (plan.num_rows, plan.available, plan.unusable) == (4, 4, [])


def test_a_group_takes_part_in_the_sub_scores_of_all_of_its_rows(world: Any) -> None:
    records = [
        world.record(1, block="x", category="b"),
        world.record(2, block="x", category="a"),
        world.record(3),
    ]
    assert planned(world, records).subscores() == [["category/a", "category/b"], []]


def test_unusable_records_are_named_with_their_place_and_counted(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planned(
        world, [world.record(1), world.record(2, None), world.record(1), world.record(4)]
    )
    assert plan.unusable == ["line 2: answer: missing", "line 3: id: 1 occurs a second time"]
    assert (plan.available, plan.num_rows) == (4, 2)
    assert "sums: left out line 2: answer: missing" in caplog.text


def test_too_many_unusable_records_stop_the_evaluation_with_the_first(world: Any) -> None:
    records = [world.record(1), world.record(2, None), world.record(3, None), world.record(4)]
    words = (
        r"sums: 2 of 4 rows cannot be used, more than eval\.max_unusable_frac=0\.4 allows\. First:"
        r" line 2: answer: missing"
    )
    with pytest.raises(RuntimeError, match=words):
        planned(world, records, max_unusable_frac=0.4)


def test_a_source_without_rows_is_no_evaluation(world: Any) -> None:
    with pytest.raises(
        RuntimeError,
        match=r"sums: the row source has no rows of it; choose other rows \(eval\.rows\)",
    ):
        planned(world, [])


def test_a_limit_takes_whole_groups_and_a_larger_one_takes_the_same_and_more() -> None:
    groups = [
        [{"id": f"{g}{k}"} for k in range(size)] for g, size in enumerate([1, 3, 2, 1, 4, 1, 2])
    ]
    taken = [draw_groups(groups, limit, "7") for limit in range(1, 15)]
    for limit, found in enumerate(taken, 1):
        assert found == [group for group in groups if group in found]
        assert 0 < sum(map(len, found)) <= max(limit, 4)
    assert all(group in larger for smaller, larger in pairwise(taken) for group in smaller)
    assert taken[-1] == groups == draw_groups(groups, None, "7")


def test_which_rows_a_limit_takes_depends_on_the_seed_alone() -> None:
    groups = [[{"id": str(g)}] for g in range(40)]
    assert draw_groups(groups, 9, "0") == draw_groups(groups, 9, "0")
    assert draw_groups(groups, 9, "0") != draw_groups(groups, 9, "1")
    assert draw_groups(groups, 9, "0") != groups[:9]
