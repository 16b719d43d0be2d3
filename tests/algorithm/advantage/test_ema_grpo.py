import math

import pytest
import torch

from g2rpo.algorithm.advantage.ema_grpo import EMAGRPO

GROUPS = torch.tensor([0, 0, 1, 1])
MATH = torch.full((4,), 1)


def test_the_first_batch_sets_the_moments_of_each_task() -> None:
    # task 5: rewards 0, 2 -> E 1, E2 2, sigma 1;   task 9: 1, 4 -> E 2.5, E2 8.5, sigma 1.5
    advantages = EMAGRPO()(
        torch.tensor([0.0, 1.0, 2.0, 4.0]), torch.tensor([0, 7, 0, 7]), torch.tensor([5, 9, 5, 9])
    )
    torch.testing.assert_close(advantages, torch.tensor([-1.0, -1.0, 1.0, 1.0]), atol=1e-5, rtol=0)


def test_moments_move_before_they_are_used() -> None:
    estimator = EMAGRPO(decay=0.9)
    estimator(torch.tensor([0.0, 1.0, 0.0, 1.0]), GROUPS, MATH)  # E .5, E2 .5
    second = estimator(
        torch.tensor([0.0, 2.0, 1.0, 2.0]), GROUPS, MATH
    )  # batch E 1.25, E2 2.25 -> .575, .675
    sigma = math.sqrt(0.675 - 0.575**2)
    torch.testing.assert_close(
        second, torch.tensor([-1.0, 1.0, -0.5, 0.5]) / sigma, atol=1e-5, rtol=0
    )


def test_a_task_that_sits_out_keeps_its_moments() -> None:
    estimator = EMAGRPO(decay=0.5)
    estimator(torch.tensor([0.0, 1.0, 0.0, 1.0]), GROUPS, MATH)
    estimator(torch.tensor([0.0, 9.0, 3.0, 1.0]), GROUPS, MATH + 1)
    assert estimator.state_dict()["moments"][1] == (0.5, 0.5)


def test_the_state_carries_over_to_a_resumed_run() -> None:
    batches = [
        torch.tensor([0.0, 1.0, 0.25, 1.0]),
        torch.tensor([0.5, 1.0, 0.0, 3.0]),
        torch.tensor([2.0, 1.0, 0.0, 1.0]),
    ]
    straight, stopped, resumed = EMAGRPO(), EMAGRPO(), EMAGRPO()
    expected = [straight(batch, GROUPS, MATH) for batch in batches]
    for batch in batches[:2]:
        stopped(batch, GROUPS, MATH)
    resumed.load_state_dict(stopped.state_dict())
    assert resumed(batches[2], GROUPS, MATH).tolist() == expected[2].tolist()
    assert EMAGRPO()(batches[2], GROUPS, MATH).tolist() != expected[2].tolist()


def test_a_saved_state_does_not_move_with_the_run() -> None:
    estimator = EMAGRPO()
    estimator(torch.tensor([0.0, 1.0, 0.0, 1.0]), GROUPS, MATH)
    saved = estimator.state_dict()
    estimator(torch.tensor([0.0, 5.0, 0.0, 1.0]), GROUPS, MATH)
    assert saved["moments"][1] == (0.5, 0.5)


def test_a_group_beyond_the_guard_is_scaled_by_its_own_deviation() -> None:
    # 31 groups of two that agree and one that is 0 and 1: E 1/64, E2 1/64, sigma .1240, so that .5
    # / sigma = 4.03 stays; with 63 such groups sigma is .0880 and .5 / sigma = 5.68 is beyond 5:
    # the group gets +-.5 / .5
    for others, expected in ((31, 0.5 / math.sqrt(1 / 64 - 1 / 64**2)), (63, 1.0)):
        rewards = torch.zeros(2 * others + 2)
        rewards[1] = 1.0
        groups = torch.arange(others + 1).repeat_interleave(2)
        advantages = EMAGRPO()(rewards, groups, torch.zeros_like(groups))
        torch.testing.assert_close(
            advantages[:2], torch.tensor([-expected, expected]), atol=1e-4, rtol=0
        )


def test_one_large_value_switches_the_whole_group_and_no_other() -> None:
    # group 0: 0 x 9, 1 (mean .1); group 1: 0, .1. With 200 more zeros sigma is .0688:
    # .9 / sigma = 13 in group 0, .05 / sigma = .73 in group 1
    rewards = torch.tensor([0.0] * 9 + [1.0] + [0.0, 0.1] + [0.0] * 200, dtype=torch.float64)
    groups = torch.tensor([0] * 10 + [1] * 2 + [2] * 200)
    mean, square = 1.1 / 212, 1.01 / 212
    sigma = math.sqrt(square - mean**2)
    advantages = EMAGRPO()(rewards, groups, torch.zeros_like(groups))
    expected = [-0.1 / 0.3] * 9 + [0.9 / 0.3] + [-0.05 / sigma, 0.05 / sigma] + [0.0] * 200
    torch.testing.assert_close(
        advantages, torch.tensor(expected, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_the_deviation_has_a_floor() -> None:
    # all rewards of the first batch agree: sigma is the floor of .001, and 4e-4 / (.001 + 1e-6) =
    # .3996
    rewards = torch.tensor([0.5 - 4e-4, 0.5 + 4e-4] * 2, dtype=torch.float64)
    expected = torch.tensor([-0.3996, 0.3996] * 2, dtype=torch.float64)
    torch.testing.assert_close(EMAGRPO()(rewards, GROUPS, MATH), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, r"advantage\.decay: expected a share in \[0, 1\), got 1.0"),
        ({"min_std": -1.0}, r"advantage\.min_std: expected 0 or more"),
        ({"guard": 0.0}, r"advantage\.guard: expected a positive number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EMAGRPO(**options)
