"""Gradients of tasks, with a policy of three small tensors whose gradients are written down."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rank_processes import run_ranks
from torch import Tensor, nn

from g2rpo.algorithm.gradient.sum import Sum
from g2rpo.training.task_gradients import (
    TaskGradients,
    check_memory,
    check_sharding,
    free_bytes,
)

MATH, CHART, GROUNDING = 4, 0, 7
VECTORS = {MATH: [1.0, 2.0, 0.0], CHART: [-3.0, 1.0, 1.0], GROUNDING: [0.0, 0.0, 0.0]}


class Fixed:
    """Weights that a test wrote down; remembers what it was asked."""

    by_task = True

    def __init__(self, *weights: float) -> None:
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def __call__(self, gramian: Tensor, seed: int) -> Tensor:
        self.gramian, self.seed = gramian, seed
        return self.weights


@pytest.fixture
def policy() -> nn.Module:
    module = nn.Module()
    module.a, module.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    module.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    return module


def backward(policy: Any, vector: list[float]) -> None:
    """Add a vector to the gradient."""
    values = torch.tensor(vector)
    (policy.a @ values[:2] + policy.b @ values[2:]).backward()


def whole(policy: Any) -> list[float]:
    return [*policy.a.grad.tolist(), *policy.b.grad.tolist()]


def collected(policy: Any, weighting: Any, vectors: dict[int, list[float]]) -> TaskGradients:
    found = TaskGradients(policy, weighting)
    for task, vector in vectors.items():
        found.begin(task)
        backward(policy, vector)
    return found


def test_each_task_is_weighed_by_itself_and_one_without_gradient_is_not_asked_about(
    policy: Any,
) -> None:
    weighting = Fixed(0.5, 2.0)
    weights = collected(policy, weighting, VECTORS).combine(0.0, 11)
    assert weights == {CHART: 0.5, MATH: 2.0, GROUNDING: 1.0}
    expected = np.array(VECTORS[CHART]) / 2 + 2 * np.array(VECTORS[MATH])
    assert whole(policy) == expected.tolist()
    pulling = np.array([VECTORS[CHART], VECTORS[MATH]])
    np.testing.assert_array_equal(weighting.gramian.numpy(), pulling @ pulling.T)
    assert weighting.seed == 11
    assert policy.frozen.grad is None


def test_micro_batches_of_a_task_add_up_also_after_another_task(policy: Any) -> None:
    found = TaskGradients(policy, Fixed(1.0, 10.0))
    for task, vector in (
        (MATH, [1, 0, 0]),
        (CHART, [0, 5, 0]),
        (CHART, [0, 1, 0]),
        (MATH, [1, 0, 3]),
    ):
        found.begin(task)
        backward(policy, [float(value) for value in vector])
    assert found.combine(0.0, 0) == {CHART: 1.0, MATH: 10.0}
    assert whole(policy) == [20.0, 6.0, 30.0]


def test_a_tensor_that_one_task_does_not_use_counts_as_zero_there(policy: Any) -> None:
    weighting = Fixed(3.0, 2.0)
    found = TaskGradients(policy, weighting)
    found.begin(MATH)
    backward(policy, [1.0, 1.0, 4.0])
    found.begin(CHART)
    policy.a.sum().backward()
    found.combine(0.0, 0)
    assert weighting.gramian.tolist() == [[2.0, 2.0], [2.0, 18.0]]
    assert whole(policy) == [5.0, 5.0, 8.0]


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [float("nan"), 0.0, 0.0]])
def test_without_two_finite_gradients_it_is_the_sum(policy: Any, vector: list[float]) -> None:
    found = collected(policy, Fixed(9.0, 9.0), {MATH: [1.0, 2.0, 0.0], CHART: vector})
    assert found.combine(0.0, 0) == {CHART: 1.0, MATH: 1.0}
    np.testing.assert_array_equal(whole(policy), np.add(vector, [1.0, 2.0, 0.0]))


def test_gradients_are_multiplied_in_float64_piece_by_piece(policy: Any, monkeypatch) -> None:
    monkeypatch.setattr("g2rpo.training.task_gradients.PIECE", 1)
    weighting = Fixed(1.0, 1.0)
    vectors = {MATH: [4097.0, 1.0, 0.5], CHART: [4097.0, -1.0, 2.0]}
    collected(policy, weighting, vectors).combine(0.0, 0)
    square = 2**24 + 2**13 + 1  # 25 bits: one too many for float32
    assert weighting.gramian.tolist() == [[square + 5, square], [square, square + 1.25]]


def test_the_memory_is_said_and_a_run_without_it_is_refused(
    policy: Any, monkeypatch, caplog: Any
) -> None:
    place = "g2rpo.training.task_gradients.free_bytes"
    caplog.set_level(logging.INFO, "g2rpo")
    check_memory(policy, Fixed(), ["math", "chart"])
    assert "each of 2 tasks has a gradient of 0.00 GiB" in caplog.text
    monkeypatch.setattr(place, lambda device: 23)  # three trained float32 numbers for two tasks
    with pytest.raises(
        ValueError, match=r"gradient: expected .* for the gradients of 2 tasks, free"
    ):
        check_memory(policy, Fixed(), ["math", "chart"])
    monkeypatch.setattr(place, lambda device: 24)
    check_memory(policy, Fixed(), ["math", "chart"])
    monkeypatch.setattr(place, lambda device: 0)
    check_memory(policy, Sum(), ["math", "chart"])


def test_free_bytes_are_a_share_of_the_memory_of_this_machine() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50


def test_sharded_weights_are_refused_by_name() -> None:
    fsdp = {"strategy": {"_target_": "g2rpo.training.sharded_strategy.ShardedStrategy"}}
    with pytest.raises(ValueError, match=r"expected trainer=auto or trainer=ddp, got trainer=fsdp"):
        check_sharding(Fixed(), fsdp)
    check_sharding(Sum(), fsdp)
    check_sharding(Fixed(), {"strategy": "ddp"})


@pytest.mark.slow
@pytest.mark.process
def test_gradients_are_summed_over_ranks_before_they_are_weighed(tmp_path: Path) -> None:
    """Rank 0 has math and chart, rank 1 math and grounding."""
    run_ranks(Path(__file__).with_name("task_gradient_ranks.py"), tmp_path)
    math, chart, grounding = (
        np.array(vector) for vector in ([2.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -2.0, 0.0])
    )
    rows = np.array([chart, math, grounding])
    for rank in range(2):
        saved = torch.load(tmp_path / f"{rank}.pt")
        np.testing.assert_allclose(saved["gramian"], rows @ rows.T)
        assert saved["weights"] == {CHART: 1.0, MATH: 2.0, GROUNDING: 3.0}
        np.testing.assert_allclose(saved["gradient"], chart + 2 * math + 3 * grounding)
