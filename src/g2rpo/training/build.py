"""Builds module, data module and trainer of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from g2rpo.data.stream import PromptStream
from g2rpo.launch.counts import check_counts
from g2rpo.redaction import redacted_values
from g2rpo.training.checkpoint_io import read_hyper_parameters, use_own_checkpoints
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.launched import wait_longer_than
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.module import G2RPOModule
from g2rpo.training.parts import Parts, build_parts, chosen, plain
from g2rpo.training.saved_config import check_targets
from g2rpo.training.sharded_strategy import ShardedModels, ShardedStrategy
from g2rpo.training.timed_checkpoint import refuse_train_time_interval
from g2rpo.training.tracking.lost_logger import spared
from g2rpo.training.validation import Validation


def build_module(cfg: DictConfig, parts: Parts, trainer: L.Trainer) -> G2RPOModule:
    """Load the weights and build the module that trains them; call it in `parts.started()`.

    Sharded weights are loaded later, when the trainer has connected the processes.
    """
    return G2RPOModule(**_arguments(cfg, parts, isinstance(trainer.strategy, ShardedStrategy)))


def build_data(cfg: DictConfig, parts: Parts, *, updates: int | None = None) -> PromptDataModule:
    """Build the data module: the stream of training prompts, and the held-out prompts.

    Args:
        cfg: The composed configuration.
        parts: What it names.
        updates: Number of optimizer updates to draw prompts for; None takes `trainer.max_steps`.
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
    """Build Lightning's Trainer with the configured callbacks and loggers.

    The `more` callbacks come after all others, also after those that save checkpoints.

    `metrics.csv` is always written, even if no logger is configured.
    """
    loggers = all_of(cfg, "logger")
    if not any(isinstance(logger, MetricsCSV) for logger in loggers):
        loggers = [MetricsCSV(folder=cfg.run_dir), *loggers]
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        **_counting(cfg.trainer),
        logger=loggers,
        callbacks=all_of(cfg, "callbacks"),
    )
    trainer.callbacks += more  # Lightning has moved those that save checkpoints to the end
    check_counts(trainer.num_devices, trainer.num_nodes)
    wait_longer_than(trainer, OmegaConf.select(cfg, "hang_s"))
    use_own_checkpoints(trainer)
    return trainer


def module_arguments(checkpoint: Path, trusted: Sequence[str] = ()) -> dict[str, Any]:
    """Return the arguments of `G2RPOModule` in the run that wrote a checkpoint.

    The reward runs in this process.

    Args:
        checkpoint: The checkpoint of a run.
        trusted: Packages of plug-ins that its configuration may name.

    Raises:
        ValueError: if the checkpoint holds no configuration, or one that names other code.
    """
    saved = read_hyper_parameters(checkpoint)
    if "model" not in saved:
        raise ValueError(
            f"{checkpoint}: expected the configuration of a run in its hyper_parameters, found"
            " none; pass policy=, encoder=, ..."
        )
    check_targets(saved, trusted)
    cfg = OmegaConf.create(dict(saved))
    parts = build_parts(cfg)
    return _arguments(cfg, parts, sharded=False)


def _arguments(cfg: DictConfig, parts: Parts, sharded: bool) -> dict[str, Any]:
    needs_reference = bool(parts.algorithm.loss.kl_coef)
    policy, reference = None, None
    parts.model.check_prefix(parts.algorithm.prefix)
    if sharded:
        policy = ShardedModels(checkpoint=parts.model, needs_reference=needs_reference)
    else:
        policy = parts.model.policy()
        reference = parts.model.reference(policy) if needs_reference else None
    return {
        "policy": policy,
        "reference": reference,
        "encoder": parts.model.encoder(),
        "engine": parts.engine,
        "reward": parts.reward,
        "algorithm": parts.algorithm,
        "validation": Validation(
            heldout=parts.heldout, suite=parts.suite, model=parts.model, folder=Path(cfg.run_dir)
        ),
        "config": redacted_values(plain(cfg)),
    }


def _counting(trainer: DictConfig) -> dict[str, Any]:
    """Let a whole-number `val_check_interval` exceed the run, which Lightning otherwise refuses."""
    return (
        {"check_val_every_n_epoch": None}
        if isinstance(OmegaConf.select(trainer, "val_check_interval"), int)
        else {}
    )


def all_of(cfg: DictConfig, group: str) -> list[Any]:
    """Build every entry of a group such as `callbacks`; entries set to null are left out.

    The group itself is missing after `logger=[]`.
    """
    entries = OmegaConf.select(cfg, group) or {}
    if not OmegaConf.is_dict(entries) and entries != {}:
        raise ValueError(f"{group}: expected a mapping of names to objects, got {entries!r}")
    built = {
        name: instantiate(chosen(cfg, f"{group}.{name}"), _convert_="all")
        for name, entry in entries.items()
        if entry is not None
    }
    for name, part in built.items():
        refuse_train_time_interval(part, f"{group}.{name}")
    if group == "logger":
        return [spared(part, f"logger.{name}") for name, part in built.items()]
    return [*built.values()]
