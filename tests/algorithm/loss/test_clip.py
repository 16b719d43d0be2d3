import math

import pytest
import torch
from torch import Tensor

from g2rpo.algorithm.loss.clip import ClipLoss


def one_token(
    loss: ClipLoss, ratio: float, advantage: float
) -> tuple[float, float, dict[str, Tensor]]:
    """Loss, gradient and stats of a single token with this probability ratio."""
    logprobs = torch.tensor([[math.log(ratio) - 1.0]], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([[-1.0]], dtype=torch.float64)
    value, stats = loss(
        logprobs,
        old,
        torch.tensor([advantage], dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.bool),
    )
    value.backward()
    return value.item(), logprobs.grad.item(), stats


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "gradient", "cut"),
    [  # low .2, high .3, dual 3: d loss / d logp is -A r where nothing is cut, 0 where it is
        (1.0, 2.0, -2.0, -2.0, 0),
        (1.25, 2.0, -2.5, -2.5, 0),  # inside the higher bound
        (1.4, 2.0, -2.6, 0.0, 1),  # paid for 1.3 only
        (0.5, 2.0, -1.0, -1.0, 0),  # a good token that lost weight is never cut
        (0.9, -2.0, 1.8, 1.8, 0),
        (0.7, -2.0, 1.6, 0.0, 1),  # charged for .8 at least
        (2.5, -2.0, 5.0, 5.0, 0),
        (4.0, -2.0, 6.0, 0.0, 1),  # charged for 3 at most
        (4.0, 0.0, 0.0, 0.0, 0),
    ],
)
def test_surrogate_of_one_token(
    ratio: float, advantage: float, expected: float, gradient: float, cut: int
) -> None:
    value, slope, stats = one_token(ClipLoss(), ratio, advantage)
    assert value == pytest.approx(expected)
    assert slope == pytest.approx(gradient)
    assert stats["clip_frac"].item() == cut
    assert stats["ratio_mean"].item() == pytest.approx(ratio)


def test_without_dual_clip_a_bad_token_costs_what_it_costs() -> None:
    assert one_token(ClipLoss(dual_clip=None), 4.0, -2.0)[:2] == pytest.approx((8.0, 8.0))


def test_a_runaway_ratio_stays_finite() -> None:
    logprobs = torch.tensor([[-1.0]], requires_grad=True)
    value, _ = ClipLoss(dual_clip=None)(
        logprobs, torch.tensor([[-200.0]]), torch.tensor([-1.0]), torch.ones(1, 1)
    )
    value.backward()
    assert value.item() == pytest.approx(math.exp(20), rel=1e-4)
    assert logprobs.grad.item() == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"clip_ratio_low": 1.2},
            (
                "expected 0 <= clip_ratio_low < 1 and clip_ratio_high >= 0, got clip_ratio_low=1.2,"
                " clip_ratio_high=0.3"
            ),
        ),
        ({"clip_ratio_high": -0.1}, "got clip_ratio_low=0.2, clip_ratio_high=-0.1"),
        ({"dual_clip": 0.9}, r"loss\.dual_clip: expected null \(off\) or a ratio above 1, got 0.9"),
        ({"kl_coef": -0.1}, r"loss\.kl_coef: expected 0 \(no KL\) or more, got -0.1"),
        ({"max_tokens": 0}, r"loss\.max_tokens: expected at least 1 token, got 0"),
        (
            {"tis_level": "sequence"},
            r"loss\.tis_level: expected its default with loss\.tis_clip=null, .* got 'sequence'",
        ),
        ({"tis_clip": 0.0}, r"loss\.tis_clip: expected null \(off\) or a positive weight, got 0.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipLoss(**options)
