"""Builds the objects that the configuration names."""

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from g2rpo.benchmark.evaluation.suite import SuiteEvaluation
from g2rpo.data.mixture import TaskMix, mixture_of
from g2rpo.interfaces import Curriculum, PromptSource, Reward, RewardWorkers, RolloutEngine
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.heldout import HeldoutEvaluation
from g2rpo.training.task_gradients import check_sharding
from g2rpo.training.trainer_flags import check_optimizer, check_trainer

LATER = ("optimizer", "lr_scheduler")
"""Groups whose objects need the weights."""


@dataclass(kw_only=True)
class Parts:
    """The objects that are cheap to build, so that typing errors show before weights are loaded."""

    model: Checkpoint
    source: PromptSource
    mix: TaskMix
    curriculum: Curriculum
    engine: RolloutEngine
    reward: Reward
    reward_workers: RewardWorkers
    algorithm: Algorithm
    heldout: HeldoutEvaluation
    suite: SuiteEvaluation

    @contextmanager
    def started(self) -> Iterator[Self]:
        """Yield these parts with the reward running in its workers until the context ends."""
        with self.reward_workers.start(self.reward) as reward:
            yield replace(self, reward=reward)


def build_parts(cfg: DictConfig, *, source: PromptSource | None = None) -> Parts:
    """Build the objects of a configuration; errors name the full key.

    Args:
        cfg: The composed configuration.
        source: Replaces the prompt source that `cfg.data` names.
    """
    trainer, optimizer = (
        dict(OmegaConf.to_container(chosen(cfg, group), resolve=False))
        for group in ("trainer", "optimizer")
    )
    check_trainer(trainer)
    check_optimizer(optimizer, trainer)
    source = source or _made(cfg, "data")
    mix = mixture_of(source, _made(cfg, "task_mix"))
    algorithm = build_algorithm(cfg, tuple(mix.shares))
    check_sharding(algorithm.gradient, trainer)
    return Parts(
        algorithm=algorithm,
        source=source,
        mix=mix,
        curriculum=_made(cfg, "curriculum"),
        engine=_made(cfg, "rollout"),
        reward=_made(cfg, "reward"),
        reward_workers=_made(cfg, "reward_workers"),
        heldout=_made(cfg, "heldout"),
        suite=_made(cfg, "eval"),
        model=_made(cfg, "model").computing_in(str(cfg.trainer.precision)),
    )


def build_algorithm(cfg: DictConfig, tasks: tuple[str, ...]) -> Algorithm:
    """Build the algorithm of a run from the configuration and the tasks of its data."""
    return Algorithm(
        tasks=tasks,
        advantage=_made(cfg, "advantage"),
        loss=_made(cfg, "loss"),
        shaping=_made(cfg, "shaping"),
        batch=_made(cfg, "batch"),
        optimizer=_made(cfg, "optimizer"),
        lr_scheduler=_made(cfg, "lr_scheduler"),
        group_filter=_made(cfg, "filter"),
        gradient_conflict=_made(cfg, "gradient_conflict"),
        gradient=_made(cfg, "gradient"),
        max_grad_norm=cfg.max_grad_norm,
        failure_budget=cfg.reward_failures,
        prefix=_made(cfg, "policy").prefix,
        seed=cfg.seed,
    )


def device_of(cfg: DictConfig) -> torch.device:
    """Return the device on which the trainer puts the model of this process."""
    device: torch.device = instantiate(
        cfg.trainer, logger=False, enable_checkpointing=False
    ).strategy.root_device
    return device


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a part of the configuration as plain values, interpolations resolved."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def chosen(cfg: DictConfig, key: str) -> DictConfig:
    """Return what builds an object; raises `ValueError` if it is anything else, such as text.

    It is part of a copy: building resolves nodes that others refer to, such as `template`, in
    place, and the hash of the settings would change in the middle of a run.
    """
    node = OmegaConf.select(deepcopy(cfg), key)
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        group = key.partition(".")[0]
        raise ValueError(
            f"{key}: expected a mapping with _target_, as the files in conf/{group} are, got"
            f" {str(node)[:100]!r}"
        )
    assert isinstance(node, DictConfig)
    return node


def _made(cfg: DictConfig, group: str) -> Any:
    node = chosen(cfg, group)
    if group in LATER and not node.get("_partial_"):
        raise ValueError(
            f"{group}._partial_: expected true, because it is called after the weights are loaded,"
            f" got {node.get('_partial_')}"
        )
    made = instantiate(node, _convert_="all")
    if isinstance(made, functools.partial):  # called after the weights are loaded
        try:
            inspect.signature(made.func).bind_partial(*made.args, **made.keywords)
        except TypeError as error:
            raise ValueError(f"{group}: {error}; its _target_ takes no such argument") from None
    return made
