"""Means per task are taken over completions, never over means."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.data.gym.source import TASKS
from g2rpo.per_task import task_means


def test_task_means_weigh_every_completion_alike() -> None:
    values = torch.tensor([1.0, 0.0, 0.5, 4.0])
    tasks = torch.tensor([5, 1, 5, 5])
    # math has one completion: 0; grounding three: (1 + 0.5 + 4) / 3
    assert task_means("reward/accuracy", values, tasks, TASKS) == pytest.approx(
        {"reward/accuracy/math": 0.0, "reward/accuracy/grounding": 5.5 / 3}
    )


def test_a_task_that_took_no_part_has_no_mean() -> None:
    assert (
        task_means("reward/accuracy", torch.zeros(0), torch.zeros(0, dtype=torch.long), TASKS) == {}
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-1e3, 1e3, width=32)), min_size=1, max_size=30)
)
def test_task_means_add_up_to_the_mean_over_all_completions(rows: list[tuple[int, float]]) -> None:
    tasks, values = torch.tensor([t for t, _ in rows]), torch.tensor([v for _, v in rows])
    means = task_means("reward/accuracy", values, tasks, TASKS)
    total = sum(means[f"reward/accuracy/{TASKS[t]}"] for t, _ in rows)
    assert total == pytest.approx(math.fsum(v for _, v in rows), abs=1e-6)


def test_means_are_taken_in_double_precision() -> None:
    # 16777216 is 2^24, where float32 stops counting in ones: a float32 sum would lose every 1
    values = torch.tensor([16777216.0, 1.0, 1.0, 1.0])
    assert task_means("reward/accuracy", values, torch.ones(4, dtype=torch.long), TASKS) == {
        "reward/accuracy/math": 16777219 / 4
    }
