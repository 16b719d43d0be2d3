import torch

from g2rpo.algorithm.advantage.dr_grpo import DrGRPO


def test_only_the_mean_of_the_group_is_taken_off() -> None:
    rewards = torch.tensor([0.81, 0.0, 0.81, 0.82, 3.0, 0.82, 0.83])
    groups = torch.tensor([8, 3, 8, 8, 3, 8, 8])
    expected = torch.tensor([-0.008, -1.5, -0.008, 0.002, 1.5, 0.002, 0.012])
    torch.testing.assert_close(
        DrGRPO()(rewards, groups, torch.zeros(7, dtype=torch.long)), expected, atol=1e-6, rtol=0
    )
