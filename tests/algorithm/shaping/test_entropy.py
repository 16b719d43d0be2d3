from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.data.gym.source import TASKS
from g2rpo.per_task import task_sums

MATH, CHART, DOCUMENT = (TASKS.index(task) for task in ("math", "chart", "document"))


def by_task(**values: float) -> Tensor:
    return torch.tensor([float(values.get(task, 0.0)) for task in TASKS], dtype=torch.float64)


def test_the_hinge_points_into_the_band_and_an_absent_task_adds_nothing() -> None:
    # means: math 1.0 (above .6), chart .05 (below .2), document .4 (inside), the others absent
    band = EntropyBand(low=0.2, high=0.6, weight=0.02)
    weights, penalty = band.weights(
        by_task(math=8.0, chart=0.5, document=4.0), by_task(math=8, chart=10, document=10)
    )
    assert weights.tolist() == by_task(math=0.02, chart=-0.02).tolist()
    assert penalty.item() == pytest.approx(0.02 * (0.4 + 0.15))


def test_one_task_inside_its_band_costs_nothing() -> None:
    weights, penalty = EntropyBand(low=0.2, high=0.6, weight=0.02).weights(
        by_task(math=4.0), by_task(math=10)
    )
    assert weights.tolist() == [0.0] * 6
    assert penalty.item() == 0


def test_bounds_may_differ_by_task_and_a_task_without_one_has_no_such_side() -> None:
    band = EntropyBand(
        low={"math": 0.5}, high={"math": 0.9, "chart": 0.3, "default": None}, weight=1.0
    )
    band = band.for_tasks(TASKS)
    sums, tokens = (
        by_task(math=4.0, chart=4.0, document=90.0),
        by_task(math=10, chart=10, document=10),
    )
    weights, penalty = band.weights(sums, tokens)
    assert weights.tolist() == by_task(math=-1, chart=1).tolist()
    assert penalty.item() == pytest.approx(0.1 + 0.1)


def test_sums_count_the_tokens_of_each_task_inside_the_mask() -> None:
    entropy = torch.tensor([[1.0, 2.0, float("nan")], [0.5, 0.25, 0.125], [4.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    sums, tokens = task_sums(entropy, mask, torch.tensor([CHART, MATH, CHART]), 6)
    assert sums.tolist() == by_task(chart=7.0, math=0.875).tolist()
    assert tokens.tolist() == by_task(chart=3, math=3).tolist()


def test_gradient_of_the_term_by_hand() -> None:
    # math is above: every of its 3 tokens gets + weight / 3; chart below: its 2 tokens get - weight
    # / 2; document inside: nothing
    entropy = torch.full((3, 3), 0.7, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    band = EntropyBand(low=0.2, high=0.6, weight=0.06)
    tasks, weights = torch.tensor([MATH, CHART, DOCUMENT]), by_task(math=0.06, chart=-0.06).float()
    term = band.loss(entropy, mask, tasks, weights, by_task(math=3, chart=2, document=1))
    (gradient,) = torch.autograd.grad(term, entropy)
    torch.testing.assert_close(
        gradient, torch.tensor([[0.02, 0.02, 0.02], [-0.03, -0.03, 0], [0, 0, 0]])
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 9), max_size=4))
def test_over_any_micro_batches_the_gradient_is_that_of_the_hinge_on_the_whole_batch(
    seed: int, cuts: list[int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    entropy = torch.rand(9, 5, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.rand(9, 5, generator=generator) < 0.7
    tasks = torch.randint(0, 4, (9,), generator=generator)
    band = EntropyBand(low=0.45, high=0.55, weight=0.3)

    penalty = torch.zeros(
        (), dtype=torch.float64
    )  # the definition, with its gradient, by a loop over tasks
    for task in range(6):
        own = mask & (tasks == task).unsqueeze(1)
        if own.any():
            penalty = penalty + 0.3 * (
                (entropy[own].mean() - 0.55).relu() + (0.45 - entropy[own].mean()).relu()
            )
    (expected,) = (
        torch.autograd.grad(penalty, entropy)
        if penalty.requires_grad
        else (torch.zeros_like(entropy),)
    )

    sums, tokens = task_sums(entropy.detach(), mask, tasks, 6)
    weights, logged = band.weights(sums, tokens)
    total = torch.zeros_like(entropy)
    bounds = [0, *sorted(cuts), 9]
    for start, stop in pairwise(bounds):
        rows = slice(start, stop)
        term = band.loss(entropy[rows], mask[rows], tasks[rows], weights, tokens)
        total += torch.autograd.grad(term, entropy)[0]
    torch.testing.assert_close(total, expected, atol=1e-9, rtol=0)
    assert logged.item() == pytest.approx(penalty.item(), abs=1e-9)


def test_the_estimator_chooses_what_stands_for_entropy() -> None:
    entropy, logprobs = torch.tensor([[0.3]]), torch.tensor([[-1.7]])
    exact = EntropyBand(low=0.2, high=0.6, weight=0.02)
    sampled = EntropyBand(low=0.2, high=0.6, weight=0.02, estimator="sampled_nll")
    assert exact.token_entropy(entropy, logprobs).item() == pytest.approx(0.3)
    assert sampled.token_entropy(entropy, logprobs).item() == pytest.approx(1.7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"low": 0.9},
            (
                r"shaping\.entropy: expected 0 <= low < high \(nats per token\), got low=0.9,"
                r" high=0.6$"
            ),
        ),
        ({"low": 0.6}, r"got low=0.6, high=0.6$"),
        ({"low": -0.1}, r"got low=-0.1, high=0.6$"),
        ({"high": {"chart": 0.1}}, r"got low=0.2, high=0.1 for chart"),
        ({"weight": -1.0}, r"shaping\.entropy\.weight: expected 0 or more"),
        ({"step_size": 0.0}, r"shaping\.entropy\.step_size: expected a number above 0 .*got 0\.0"),
        ({"damping": -1.0}, r"shaping\.entropy\.damping: expected 0 or more .*, got -1\.0"),
        ({"inset": 1.0}, r"shaping\.entropy\.inset: expected a share in \[0, 1\), got 1\.0"),
        (
            {"controller": "dual", "estimator": "sampled_nll"},
            r"shaping\.entropy\.controller=dual: expected estimator=exact, got sampled_nll",
        ),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntropyBand(**{"low": 0.2, "high": 0.6, "weight": 0.02} | options)


def test_tasks_of_a_run_take_their_own_bounds_or_the_default_in_the_order_of_the_run() -> None:
    band = EntropyBand(low={"gui": 0.3, "default": 0.1}, high={"medical": 0.5}, weight=1.0)
    band = band.for_tasks(["counting", "gui", "medical"])
    assert band.low.tolist() == [0.1, 0.3, 0.1]
    assert band.high.tolist() == [float("inf"), float("inf"), 0.5]


def test_a_task_without_a_bound_on_either_side_is_refused() -> None:
    band = EntropyBand(low={"gui": 0.3}, high={"medical": 0.5}, weight=1.0)
    with pytest.raises(
        ValueError,
        match=r"^shaping\.entropy: expected a band for every task, got none for counting; add"
        r" \+shaping\.entropy\.low\.counting .* default",
    ):
        band.for_tasks(["counting", "gui", "medical"])
