"""Module, data and trainer of a run, from the parts that the configuration names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from g2rpo.data.stream import PromptStream
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.module import G2RPOModule
from g2rpo.training.parts import Parts, build_parts, plain
from g2rpo.training.validation import Validation


def build_module(cfg: DictConfig, parts: Parts) -> G2RPOModule:
    """Load the weights and build the module that trains them; `parts` have been started."""
    policy = parts.model.policy()
    return G2RPOModule(**_arguments(cfg, parts, policy))


def build_data(cfg: DictConfig, parts: Parts, *, updates: int | None = None) -> PromptDataModule:
    """The stream of training prompts, for `trainer.max_steps` or so many updates, and the held-out
    prompts.
    """
    updates = cfg.trainer.max_steps if updates is None else updates
    return PromptDataModule(
        stream=PromptStream(
            source=parts.source, mix=parts.mix, seed=cfg.seed, curriculum=parts.curriculum
        ),
        encoder=parts.model.encoder(),
        num_prompts=parts.algorithm.batch.prompts_per_step,
        num_steps=-(-updates // parts.algorithm.batch.num_minibatches),
        heldout=parts.heldout,
    )


def build_trainer(cfg: DictConfig, *more: L.Callback) -> L.Trainer:
    """Lightning's Trainer with the callbacks and loggers of the configuration, and `more` callbacks
    after them.

    `metrics.csv` is written in any case.
    """
    loggers = _all(cfg.logger)
    if not any(isinstance(logger, MetricsCSV) for logger in loggers):
        loggers = [MetricsCSV(folder=cfg.run_dir), *loggers]
    trainer: L.Trainer = instantiate(
        cfg.trainer, logger=loggers, callbacks=[*_all(cfg.callbacks), *more]
    )
    return trainer


def module_arguments(checkpoint: Path) -> dict[str, Any]:
    """What `G2RPOModule` was built from in the run that wrote a checkpoint. The reward runs in this
    process.

    Raises:
        ValueError: if the checkpoint holds no configuration.
    """
    saved: Mapping[str, Any] = (
        torch.load(checkpoint, map_location="cpu", weights_only=False).get("hyper_parameters") or {}
    )
    if "model" not in saved:
        raise ValueError(
            f"{checkpoint}: expected the configuration of a run in its hyper_parameters; pass"
            " policy=, encoder=, ..."
        )
    cfg = OmegaConf.create(dict(saved))
    parts = build_parts(cfg)
    return _arguments(cfg, parts, parts.model.policy())


def _arguments(cfg: DictConfig, parts: Parts, policy: Any) -> dict[str, Any]:
    needs_reference = bool(parts.algorithm.loss.kl_coef)
    return {
        "policy": policy,
        "reference": parts.model.reference(policy) if needs_reference else None,
        "encoder": parts.model.encoder(),
        "engine": parts.engine,
        "reward": parts.reward,
        "algorithm": parts.algorithm,
        "validation": Validation(
            heldout=parts.heldout, suite=parts.suite, model=parts.model, folder=Path(cfg.run_dir)
        ),
        "config": plain(cfg),
    }


def _all(group: DictConfig) -> list[Any]:
    """The objects of a group of names; a name that is set to null is left out."""
    return [instantiate(entry, _convert_="all") for entry in group.values() if entry is not None]
