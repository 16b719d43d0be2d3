"""The algorithm of a run as one typed object: how rewards become a gradient and a gradient an
update.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.pilot import Pilot
from g2rpo.interfaces import Advantage, GroupFilter, Loss
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.gradient_conflict import GradientConflict

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer], Any]


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Everything between the completions of a rollout batch and the updated weights.

    Args:
        advantage: Turns the rewards of a rollout batch into advantages.
        loss: Policy loss with its KL term.
        shaping: Length and entropy bands, or the pilot that measures them.
        batch: Sizes of the rollout batch, its minibatches and micro-batches.
        optimizer: Makes the optimizer from the trainable parameters.
        group_filter: Decides which groups are learned from; the others are replaced.
        gradient_conflict: Decides when the gradient of each task is measured.
        lr_scheduler: Makes the learning-rate scheduler from the optimizer; None keeps the rate.
        max_grad_norm: Gradients are rescaled so that their global norm is at most this.
        failure_budget: Share in [0, 1] of a step's completions whose reward may fail.
        prefix: How prompts pass through the policy, `policy.prefix`.
        seed: Seeds sampling and minibatch shuffling; together with the number of the rollout batch
            it determines all randomness.

    Raises:
        ValueError: if the KL penalty sits in a reward that the advantage never looks at.
    """

    advantage: Advantage
    loss: Loss
    shaping: Shaping | Pilot
    batch: BatchPlan
    optimizer: OptimizerFactory
    group_filter: GroupFilter
    gradient_conflict: GradientConflict
    lr_scheduler: SchedulerFactory | None = None
    max_grad_norm: float = 1.0
    failure_budget: float = 0.0
    prefix: str = "shared"
    seed: int = 0

    def __post_init__(self) -> None:
        check_kl_counts(self.loss, self.advantage)


def check_kl_counts(loss: Loss, advantage: Advantage) -> None:
    """Refuse a KL in the reward beside an advantage that ignores the reward: the KL would have no
    effect.
    """
    if loss.kl_coef and loss.kl_placement == "reward" and getattr(advantage, "parts_only", False):
        raise ValueError(
            "loss.kl_placement=reward: this advantage ranks the parts of the reward and never looks"
            " at their sum, so the KL would have no effect; choose another advantage, or"
            " loss.kl_placement=loss"
        )
