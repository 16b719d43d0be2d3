import math

import pytest
import torch

from g2rpo.algorithm.loss.gspo import GSPOLoss

# row 0: differences .3, .1 (mean .2), a third token masked; row 1: -.1, -.4, -.1 (mean -.2)
OLD = torch.full((2, 3), -1.0, dtype=torch.float64)
LOGPROBS = OLD + torch.tensor([[0.3, 0.1, 5.0], [-0.1, -0.4, -0.1]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
UP, DOWN = math.exp(0.2), math.exp(-0.2)


@pytest.mark.parametrize(
    ("advantages", "high", "low", "expected", "gradient"),
    [  # seq: mean over two completions; within one, each of its n tokens gets -A s / n / 2
        ([1.0, 1.0], 0.5, 0.5, -(UP + DOWN) / 2, [[-UP / 4, -UP / 4, 0], [-DOWN / 6] * 3]),
        ([1.0, 1.0], 0.1, 0.1, -(1.1 + DOWN) / 2, [[0, 0, 0], [-DOWN / 6] * 3]),
        ([-2.0, -2.0], 0.1, 0.1, (2 * UP + 2 * 0.9) / 2, [[UP / 2, UP / 2, 0], [0, 0, 0]]),
    ],
)
def test_the_ratio_of_a_completion_is_the_geometric_mean_of_its_tokens(
    advantages: list, high: float, low: float, expected: float, gradient: list
) -> None:
    logprobs = LOGPROBS.clone().requires_grad_()
    loss = GSPOLoss(aggregation="seq_mean", clip_ratio_low=low, clip_ratio_high=high)
    value, _ = loss(logprobs, OLD, torch.tensor(advantages, dtype=torch.float64), MASK)
    value.backward()
    assert value.item() == pytest.approx(expected)
    torch.testing.assert_close(logprobs.grad, torch.tensor(gradient, dtype=torch.float64))


def test_a_cut_completion_counts_with_all_its_tokens() -> None:
    loss = GSPOLoss(aggregation="seq_mean", clip_ratio_low=0.1, clip_ratio_high=0.1)
    _, stats = loss(LOGPROBS, OLD, torch.tensor([1.0, 1.0], dtype=torch.float64), MASK)
    assert stats["clip_frac"].item() == pytest.approx(2 / 5)
    assert stats["ratio_mean"].item() == pytest.approx((2 * UP + 3 * DOWN) / 5)


def test_clip_bounds_are_those_of_a_mean() -> None:
    assert (GSPOLoss().clip_ratio_low, GSPOLoss().clip_ratio_high) == (3e-4, 4e-4)
