"""What the configuration names, built."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from g2rpo.data.mixture import TaskMix, mixture_of
from g2rpo.evaluation.heldout import HeldoutEvaluation
from g2rpo.evaluation.suite import SuiteEvaluation
from g2rpo.interfaces import Advantage, Curriculum, Isolation, Loss, PromptSource, Reward, RolloutEngine
from g2rpo.model.checkpoint import Checkpoint
from g2rpo.training.batch_plan import BatchPlan


@dataclass(kw_only=True)
class Parts:
    """Everything the configuration names that costs nothing to build. A typo in any of it ends the run before weights are loaded."""

    model: Checkpoint
    source: PromptSource
    mix: TaskMix
    curriculum: Curriculum
    engine: RolloutEngine
    reward: Reward
    isolation: Isolation
    batch: BatchPlan
    heldout: HeldoutEvaluation
    suite: SuiteEvaluation
    others: dict[str, Any]

    @contextmanager
    def started(self) -> Iterator[Self]:
        """These parts with a reward that runs where `isolation` says, until the context ends."""
        with self.isolation.start(self.reward) as reward:
            yield replace(self, reward=reward)


def build_parts(cfg: DictConfig, *, source: PromptSource | None = None) -> Parts:
    """Builds the cheap objects; errors carry the full key. A `source` takes the place of `cfg.data`."""
    made = {
        key: instantiate(cfg[key], _convert_="all") for key in ("advantage", "loss", "shaping", "filter", "equity", "optimizer", "policy")
    }
    check_kl_counts(made["loss"], made["advantage"])
    source = source or instantiate(cfg.data, _convert_="all")
    return Parts(
        source=source,
        mix=mixture_of(source, instantiate(cfg.task_mix, _convert_="all")),
        curriculum=instantiate(cfg.curriculum, _convert_="all"),
        engine=instantiate(cfg.rollout, _convert_="all"),
        reward=instantiate(cfg.reward, _convert_="all"),
        isolation=instantiate(cfg.isolation, _convert_="all"),
        batch=instantiate(cfg.batch, _convert_="all"),
        heldout=instantiate(cfg.heldout, _convert_="all"),
        suite=instantiate(cfg.eval, _convert_="all"),
        model=instantiate(cfg.model, _convert_="all"),
        others=made,
    )


def device_of(cfg: DictConfig) -> torch.device:
    """Where the trainer would put the model of this process: evaluation and pilot run there too."""
    device: torch.device = instantiate(cfg.trainer, logger=False, enable_checkpointing=False).strategy.root_device
    return device


def check_kl_counts(loss: Loss, advantage: Advantage) -> None:
    """Refuses a KL in the reward beside an advantage that does not look at the reward: it would be switched on without effect."""
    if loss.kl_coef and loss.kl_placement == "reward" and getattr(advantage, "parts_only", False):
        raise ValueError(
            "loss.kl_placement=reward: this advantage ranks the parts of the reward and never looks at their sum, so the KL would "
            "have no effect; choose another advantage, or loss.kl_placement=loss"
        )
