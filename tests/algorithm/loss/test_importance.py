"""Importance weights and rejections, with ratios that are worked out by hand."""

import itertools
import math
from typing import Any

import pytest
import torch

from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.loss.importance import Rejection, log_weights, truncated_weights

MASK = torch.tensor([[True, True, True], [True, False, False]])
RATIOS = torch.tensor([[2.0, 0.5, 3.0], [0.25, 1.0, 1.0]], dtype=torch.float64)
"""pi_old / pi_sampler: the product of the first completion is 3, its geometric mean 1.442."""
LOG = RATIOS.log()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [[2.0, 0.5, 2.0], [0.25, 1.0, 1.0]]),
        ("sequence", [[2.0, 2.0, 2.0], [0.25, 0.25, 0.25]]),
        # own ratio times that of the rest: 2 x 1.5, 0.5 x (6 -> 2), (3 -> 2) x 1
        ("both", [[3.0, 1.0, 2.0], [0.25, 0.25, 0.25]]),
    ],
)
def test_weights_are_truncated_at_2(level: Any, expected: list[list[float]]) -> None:
    torch.testing.assert_close(
        truncated_weights(LOG, level, 2.0), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("level", ["sequence", "both"])
def test_without_truncation_the_expectation_is_that_of_the_policy_in_training(level: Any) -> None:
    # all completions of two tokens from a vocabulary of two, with probabilities that depend on the
    # first token
    policy = {(): [0.7, 0.3], (0,): [0.2, 0.8], (1,): [0.9, 0.1]}
    sampler = {(): [0.4, 0.6], (0,): [0.5, 0.5], (1,): [0.3, 0.7]}
    value = {(0, 0): 1.0, (0, 1): -2.0, (1, 0): 5.0, (1, 1): 0.5}
    expected = found = 0.0
    for first, second in itertools.product((0, 1), (0, 1)):
        own = [policy[()][first], policy[(first,)][second]]
        other = [sampler[()][first], sampler[(first,)][second]]
        expected += own[0] * own[1] * value[first, second]
        gap = log_weights(
            torch.tensor([own]).log(), torch.tensor([other]).log(), torch.ones(1, 2).bool()
        )
        weight = truncated_weights(gap, level, 1e6)
        assert weight[0, 0].item() == pytest.approx(weight[0, 1].item(), rel=1e-5)
        found += other[0] * other[1] * weight[0, 0].item() * value[first, second]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("level", "bounds", "expected"),
    [
        ("token", [0.4, 2.5], [[True, True, False], [False, False, False]]),
        ("token", [0.6, 4.0], [[True, False, True], [False, False, False]]),
        ("sequence", [0.2, 2.5], [[False, False, False], [True, False, False]]),
        ("geometric", [0.4, 2.5], [[True, True, True], [False, False, False]]),
        ("geometric", [0.2, 1.4], [[False, False, False], [True, False, False]]),
        ("geometric", None, MASK.tolist()),
    ],
)
def test_what_is_out_of_bounds_is_rejected(
    level: Any, bounds: list[float] | None, expected: list[list[bool]]
) -> None:
    rejection = Rejection(bounds=bounds, level=level)
    assert rejection.accepted(LOG, MASK).tolist() == expected


def test_the_mean_of_a_completion_does_not_count_its_padding() -> None:
    # the ratio of its only token is 4; over three tokens the mean would be 1.59
    gap = torch.tensor([[4.0, 1.0, 1.0]]).log()
    mask = torch.tensor([[True, False, False]])
    assert not Rejection(bounds=[0.5, 2.0], level="geometric").accepted(gap, mask).any()


def test_ratios_beyond_every_float_are_rejected() -> None:
    gap = torch.tensor([[900.0, -900.0, float("nan")]])
    assert not Rejection(bounds=[0.5, 5.0]).accepted(gap, torch.ones(1, 3).bool()).any()


def test_rejected_tokens_leave_the_surrogate_but_not_its_denominator_nor_the_kl() -> None:
    logprobs = torch.full((2, 3), -1.0, dtype=torch.float64, requires_grad=True)
    old = logprobs.detach()
    advantages = torch.tensor([1.0, -2.0], dtype=torch.float64)
    given = {"sampler_logprobs": old - LOG, "ref_logprobs": old - 0.5}

    def gradient(**options: Any) -> torch.Tensor:
        value, _ = ClipLoss(**options)(logprobs, old, advantages, MASK, **given)
        return torch.autograd.grad(value, logprobs)[0]

    rejection = Rejection(bounds=[0.4, 2.5])
    # 4 tokens; a weight of 1 where nothing is truncated
    expected = torch.tensor([[-0.25, -0.25, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(gradient(rejection=rejection), expected)
    weighted = torch.tensor([[-0.375, -0.125, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(gradient(rejection=rejection, tis_clip=1.5), weighted)
    # k1 of the reference has slope 1 on each of the 4 tokens
    kl = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.0, 0.0]], dtype=torch.float64) / 4
    torch.testing.assert_close(
        gradient(rejection=rejection, kl_coef=0.1, kl_estimator="k1"), expected + kl
    )


def test_rejection_needs_the_samplers_own_numbers() -> None:
    zeros = torch.zeros(2, 3)
    loss = ClipLoss(rejection=Rejection(bounds=[0.5, 2.0]))
    assert loss.corrects_sampler
    assert not ClipLoss().corrects_sampler
    with pytest.raises(ValueError, match=r"loss\.rejection\.bounds=\[0\.5, 2\.0\] needs sampler_"):
        loss(zeros, zeros, zeros[:, 0], MASK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounds": [0.5]}, r"bounds: expected null \(off\) or two weights around 1, .+ \[0\.5\]"),
        ({"bounds": [2.0, 0.5]}, r"two weights around 1"),
        ({"bounds": [0.5, math.inf]}, r"two weights around 1"),
        ({"level": "batch"}, r"level: expected one of token, sequence, geometric, got 'batch'"),
        ({"min_ess_frac": 1.0}, r"min_ess_frac: expected 0 \(never stop\) or a share below 1"),
        ({"patience": 0}, r"patience: expected at least 1 rollout batch, got 0"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rejection(**options)
