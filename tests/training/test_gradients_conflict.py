"""The probe: norms and cosines of gradients that are known, at the steps that are due, with nothing
left behind.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import metric_of
from g2rpo.training.gradients import (
    GradientConflict,
    conflict_metrics,
    sampled_gradient,
)

MATH, CHART, GROUNDING = (TASKS.index(task) for task in ("math", "chart", "grounding"))


@pytest.fixture
def policy() -> nn.Module:
    """Six weights in two tensors and one that is frozen."""
    module = nn.Module()
    module.a, module.b = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    module.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    return module


def adding(policy: nn.Module, gradients: dict[int, list[float]]) -> Callable[[int], None]:
    def add(task: int) -> None:
        assert all(parameter.grad is None for parameter in policy.parameters())
        values = torch.tensor(gradients[task])
        policy.a.grad, policy.b.grad = values[:4].view(2, 2).clone(), values[4:].clone()

    return add


def test_norms_ratio_and_cosines_of_known_gradients(policy: Any) -> None:
    gradients = {
        MATH: [3.0, 0, 0, 0, 4.0, 0],
        CHART: [0, 0, 0, 0, 2.0, 0],
        GROUNDING: [-1.0, 0, 0, 0, 0, 0],
    }
    row = GradientConflict().measure(
        policy, {task: TASKS[task] for task in gradients}, adding(policy, gradients)
    )
    assert [
        row[f"gradient/norm/{task}"] for task in ("math", "chart", "grounding")
    ] == pytest.approx([5.0, 2.0, 1.0])
    assert row["gradient/norm_ratio"] == pytest.approx(5.0)
    assert row["gradient/cosine/math/chart"] == pytest.approx(0.8)
    assert row["gradient/cosine/math/grounding"] == pytest.approx(-0.6)
    assert row["gradient/cosine/chart/grounding"] == pytest.approx(0.0)
    assert row["gradient/min_cosine"] == pytest.approx(-0.6)
    assert {metric_of(column).name for column in row} == {
        f"gradient/{name}" for name in ("norm", "norm_ratio", "cosine", "min_cosine")
    }


def test_no_gradient_is_left_behind(policy: Any) -> None:
    policy.b.grad = torch.ones(2)
    GradientConflict().measure(policy, {MATH: "math"}, adding(policy, {MATH: [1.0] * 6}))
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_task_without_signal_has_norm_zero_and_no_direction() -> None:
    samples = {
        "math": torch.tensor([1.0, 0.0]),
        "chart": torch.zeros(2),
        "spatial": torch.tensor([0.0, 2.0]),
    }
    row = conflict_metrics({"math": 1.0, "chart": 0.0, "spatial": 2.0}, samples)
    assert row["gradient/norm/chart"] == 0.0
    assert row["gradient/norm_ratio"] == 2.0
    assert [name for name in row if "cosine/" in name] == ["gradient/cosine/math/spatial"]
    assert set(conflict_metrics({"math": 1.0, "chart": 0.0}, samples)) == {
        "gradient/norm/math",
        "gradient/norm/chart",
    }


@pytest.mark.parametrize(
    ("most", "expected"),
    [(6, [0, 1, 2, 3, 4, 5]), (5, [0, 2, 4]), (3, [0, 2, 4]), (2, [0, 3]), (1, [0])],
)
def test_coordinates_are_evenly_spaced_over_all_trained_tensors(
    policy: Any, most: int, expected: list[int]
) -> None:
    policy.a.grad, policy.b.grad = torch.arange(4.0).view(2, 2), torch.tensor([4.0, 5.0])
    assert sampled_gradient(policy, most).tolist() == expected
    policy.b.grad = None
    assert sampled_gradient(policy, most).tolist() == [i if i < 4 else 0 for i in expected]


@pytest.mark.parametrize(
    ("every", "due"), [(10, [1, 10, 20, 30]), (1, list(range(1, 31))), (None, [])]
)
def test_the_first_step_and_every_nth_are_due(every: int | None, due: list[int]) -> None:
    gradient_conflict = GradientConflict(every_n_steps=every)
    assert [step for step in range(1, 31) if gradient_conflict.due(step)] == due


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"gradient_conflict.every_n_steps: expected 1 or more, or null for never, got 0",
    ):
        GradientConflict(every_n_steps=0)
    with pytest.raises(
        ValueError, match=r"gradient_conflict.max_coordinates: expected 1 or more, got 0"
    ):
        GradientConflict(max_coordinates=0)
