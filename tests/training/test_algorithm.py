"""The algorithm refuses what would have no effect."""

from functools import partial
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau
from transformers import get_reduce_on_plateau_schedule

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.gdpo import GDPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.rollout.collect import KeepAll
from g2rpo.training.algorithm import Algorithm, refuse_plateau
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.gradients import GradientConflict


def algorithm(advantage: object, loss: ClipLoss, lr_scheduler: Any = None) -> Algorithm:
    return Algorithm(
        tasks=("math",),
        advantage=advantage,
        loss=loss,
        shaping=Shaping(length=None, entropy=None),
        batch=BatchPlan(prompts_per_step=2, group_size=2),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        group_filter=KeepAll(),
        gradient_conflict=GradientConflict(every_n_steps=None),
        lr_scheduler=lr_scheduler,
    )


def test_a_kl_in_the_reward_needs_an_advantage_that_looks_at_the_reward() -> None:
    loss = ClipLoss(kl_coef=0.1, kl_placement="reward")
    with pytest.raises(
        ValueError, match=r"loss\.kl_placement=reward: this advantage ranks the parts"
    ):
        algorithm(GDPO(), loss)
    assert algorithm(G2RPO(), loss).loss is loss
    assert algorithm(GDPO(), ClipLoss(kl_placement="reward")).lr_scheduler is None


@pytest.mark.parametrize(
    "waits",
    [
        ReduceLROnPlateau,
        type("Own", (ReduceLROnPlateau,), {}),
        partial(ReduceLROnPlateau, factor=0.5),
        partial(get_reduce_on_plateau_schedule),
    ],
)
def test_a_scheduler_that_waits_for_a_metric_is_refused_by_name(waits: Any) -> None:
    with pytest.raises(ValueError, match=r"lr_scheduler: expected .* got ReduceLROnPlateau"):
        algorithm(G2RPO(), ClipLoss(), waits)
    assert algorithm(G2RPO(), ClipLoss(), partial(LinearLR)).lr_scheduler is not None


def test_a_scheduler_that_only_shows_when_it_is_built_is_refused_as_well() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    built = ReduceLROnPlateau(torch.optim.SGD([weight], lr=0.1))
    with pytest.raises(ValueError, match="ReduceLROnPlateau"):
        refuse_plateau(type(built))
