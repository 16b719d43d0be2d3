"""The algorithm of a run as one typed object: from rewards to a gradient to an update."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import get_reduce_on_plateau_schedule

from g2rpo.algorithm.gradient.sum import Sum
from g2rpo.algorithm.gradient.weighting import TaskWeighting
from g2rpo.algorithm.loss.importance import Rejection
from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.pilot import Pilot
from g2rpo.interfaces import Advantage, GroupFilter, Loss
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.gradients import GradientConflict

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer], Any]


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Everything between the completions of a rollout batch and the updated weights.

    Args:
        tasks: The tasks of the run; index tensors hold positions in it.
        advantage: Computes advantages from the rewards of a rollout batch.
        loss: Policy loss with its KL term.
        shaping: Length and entropy bands, or the pilot that measures them.
        batch: Sizes of the rollout batch, its minibatches and micro-batches.
        optimizer: Builds the optimizer from the trainable parameters.
        group_filter: Decides which groups are learned from; the others are replaced.
        gradient_conflict: Measures how the gradients of the tasks differ.
        gradient: Weighs the gradients of the tasks in an update.
        lr_scheduler: Builds the learning-rate scheduler from the optimizer; None keeps the rate.
        max_grad_norm: Gradients are rescaled so that their global norm is at most this.
        failure_budget: Largest share in [0, 1] of a rollout batch's completions that the reward
            may fail to score.
        prefix: Whether a prompt passes through the policy once for its group (`shared`, or `flex`
            by FlexAttention) or once per completion (`repeated`).
        seed: Seeds sampling and minibatch shuffling; together with the number of the rollout batch
            it determines all randomness.

    Raises:
        ValueError: if a task has no band, if the KL penalty is part of a reward that the advantage
            ignores, or if the scheduler waits for a validation metric.
    """

    tasks: tuple[str, ...]
    advantage: Advantage
    loss: Loss
    shaping: Shaping | Pilot
    batch: BatchPlan
    optimizer: OptimizerFactory
    group_filter: GroupFilter
    gradient_conflict: GradientConflict
    gradient: TaskWeighting = field(default_factory=Sum)
    lr_scheduler: SchedulerFactory | None = None
    max_grad_norm: float = 1.0
    failure_budget: float = 0.0
    prefix: str = "shared"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.shaping, Shaping):
            object.__setattr__(self, "shaping", self.shaping.for_tasks(self.tasks))
        check_kl_counts(self.loss, self.advantage)
        refuse_plateau(getattr(self.lr_scheduler, "func", self.lr_scheduler))

    @property
    def corrects_sampler(self) -> bool:
        """Whether the loss needs the log-probabilities of the policy before the update."""
        return bool(getattr(self.loss, "corrects_sampler", self.loss.tis_clip is not None))

    @property
    def rejection(self) -> Rejection:
        """The loss's bounds on importance weights; a loss without them rejects nothing."""
        return getattr(self.loss, "rejection", Rejection(min_ess_frac=0.0))


def refuse_plateau(scheduler: object) -> None:
    """Refuse `ReduceLROnPlateau`: schedulers here are stepped after updates, without a metric.

    Args:
        scheduler: The class or function that builds the scheduler.

    Raises:
        ValueError: if it builds a `ReduceLROnPlateau`.
    """
    if scheduler is get_reduce_on_plateau_schedule or (
        isinstance(scheduler, type) and issubclass(scheduler, ReduceLROnPlateau)
    ):
        raise ValueError(
            "lr_scheduler: expected a schedule over optimizer updates, got ReduceLROnPlateau, which"
            " waits for a validation metric; use lr_scheduler=warmup, linear or cosine"
        )


def check_kl_counts(loss: Loss, advantage: Advantage) -> None:
    """Refuse a KL penalty in the reward if the advantage ignores the total reward."""
    if loss.kl_coef and loss.kl_placement == "reward" and getattr(advantage, "parts_only", False):
        raise ValueError(
            "loss.kl_placement=reward: this advantage ranks the parts of the reward and never looks"
            " at their sum, so the KL would have no effect; choose another advantage or"
            " loss.kl_placement=loss"
        )
