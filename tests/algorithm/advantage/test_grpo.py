import torch

from g2rpo.algorithm.advantage.grpo import GRPO


def test_rewards_are_standardised_with_the_unbiased_deviation() -> None:
    # mean .2, deviations -.2 x 4 and .8, std sqrt((4 * .04 + .64) / 4) = .447214: -.4472 and 1.7888
    # the group of two: mean 2, std sqrt(2) -> -.7071, .7071; rows of both groups are mixed
    rewards = torch.tensor([0.0, 1.0, 0.0, 0.0, 3.0, 1.0, 0.0])
    groups = torch.tensor([8, 3, 8, 8, 3, 8, 8])
    expected = torch.tensor([-0.4472, -0.7071, -0.4472, -0.4472, 0.7071, 1.7888, -0.4472])
    torch.testing.assert_close(
        GRPO()(rewards, groups, torch.zeros(7, dtype=torch.long)), expected, atol=1e-4, rtol=0
    )


def test_a_tiny_spread_is_damped_by_epsilon() -> None:
    # +-1e-6 around the mean: std sqrt(2) * 1e-6, so 1e-6 / (1.41421e-6 + 1e-6) = .41421
    rewards, group = (
        torch.tensor([0.0, 2e-6], dtype=torch.float64),
        torch.zeros(2, dtype=torch.long),
    )
    torch.testing.assert_close(
        GRPO()(rewards, group, group),
        torch.tensor([-0.41421, 0.41421], dtype=torch.float64),
        atol=1e-5,
        rtol=0,
    )
