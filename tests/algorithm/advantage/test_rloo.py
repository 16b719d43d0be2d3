import torch

from g2rpo.algorithm.advantage.rloo import RLOO


def test_each_reward_is_compared_with_the_mean_of_the_others() -> None:
    # group 8: 1 - (2 + 6)/2, 2 - (1 + 6)/2, 6 - (1 + 2)/2;   group 3: 4 - 1, 1 - 4
    rewards = torch.tensor([1.0, 4.0, 2.0, 6.0, 1.0])
    groups = torch.tensor([8, 3, 8, 8, 3])
    expected = [-3.0, 3.0, -1.5, 4.5, -3.0]
    assert RLOO()(rewards, groups, torch.zeros(5, dtype=torch.long)).tolist() == expected
