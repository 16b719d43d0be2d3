"""The algorithm refuses what would have no effect."""

from functools import partial

import pytest
import torch

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.gdpo import GDPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.rollout.collect import KeepAll
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.gradient_conflict import GradientConflict


def algorithm(advantage: object, loss: ClipLoss) -> Algorithm:
    return Algorithm(
        advantage=advantage,
        loss=loss,
        shaping=Shaping(length=None, entropy=None),
        batch=BatchPlan(prompts_per_step=2, group_size=2),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        group_filter=KeepAll(),
        gradient_conflict=GradientConflict(every_n_steps=None),
    )


def test_a_kl_in_the_reward_needs_an_advantage_that_looks_at_the_reward() -> None:
    loss = ClipLoss(kl_coef=0.1, kl_placement="reward")
    with pytest.raises(
        ValueError, match=r"loss\.kl_placement=reward: this advantage ranks the parts"
    ):
        algorithm(GDPO(), loss)
    assert algorithm(G2RPO(), loss).loss is loss
    assert algorithm(GDPO(), ClipLoss(kl_placement="reward")).lr_scheduler is None
