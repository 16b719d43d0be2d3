"""A run from configuration to summary: build what is cheap, check it, load weights, train between two evaluations, report."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from g2rpo.data.loading import reader
from g2rpo.data.skips import index_skips, merged
from g2rpo.data.stream import PromptStream
from g2rpo.evaluation.heldout import HeldoutResult
from g2rpo.evaluation.suite import model_settings
from g2rpo.evaluation.table import publish
from g2rpo.interfaces import OwnWeights
from g2rpo.model.adapter import has_adapter, save_adapter
from g2rpo.model.checkpoint import parameter_counts, save_checkpoint
from g2rpo.tracking.callback import TrackedSteps
from g2rpo.tracking.wandb_tracker import trackers
from g2rpo.training.benchmark_callback import BenchmarkCallback
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.estimate_run import write_estimate
from g2rpo.training.gold_check import refuse_bad_golds
from g2rpo.training.module import G2RPOModule
from g2rpo.training.parts import Parts, build_parts
from g2rpo.training.progress import Progress, stage
from g2rpo.training.quiet import quieten
from g2rpo.training.resume import resume_checkpoint
from g2rpo.training.run_log import RunLog
from g2rpo.training.summary import summarise, write_summary

log = logging.getLogger("g2rpo")


class Timer:
    """Seconds of each stage of a run."""

    def __init__(self) -> None:
        self.stage_s: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, name: str, less: Mapping[str, float] | None = None) -> None:
        """Books the time since the last call, less parts of it that have a name of their own."""
        now = time.perf_counter()
        parts = {part: round(seconds, 3) for part, seconds in (less or {}).items() if seconds}
        self.stage_s |= {name: round(now - self._last - sum(parts.values()), 3), **parts}
        self._last = now


def run_training(cfg: DictConfig, *, write_report: Callable[[Path, dict[str, Any]], Path]) -> float:
    """The main job. Returns the held-out macro score after training (nan without held-out prompts).

    Of several processes, all train, and the first alone evaluates and writes.
    """
    quieten()
    timer, folder = Timer(), Path(cfg.run_dir)
    checkpoint = resume_checkpoint(cfg.resume, folder)
    built = build_parts(cfg)
    with built.started() as parts:
        refuse_bad_golds(parts.source, parts.reward, tasks=tuple(parts.mix.shares), rules=built.reward, folder=folder, seed=cfg.seed)
        return _trained(cfg, parts, folder, timer, checkpoint, write_report)


def _trained(
    cfg: DictConfig, parts: Parts, folder: Path, timer: Timer, checkpoint: Path | None,
    write_report: Callable[[Path, dict[str, Any]], Path],
) -> float:  # fmt: skip
    """The run between its two evaluations, and what it leaves behind."""
    (folder / "summary.json").unlink(missing_ok=True)  # of an earlier run in this folder: until the end, this one is not finished
    encoder = parts.model.encoder()
    data = PromptDataModule(
        stream=PromptStream(source=parts.source, mix=parts.mix, seed=cfg.seed, curriculum=parts.curriculum), encoder=encoder,
        num_prompts=parts.batch.prompts, num_steps=-(-cfg.trainer.max_steps // parts.batch.num_minibatches),
    )  # fmt: skip
    benchmarks = BenchmarkCallback(
        suite=parts.suite, folder=folder, model=model_settings(parts.model), dtype=parts.model.dtype,
        heldout=lambda module, name: heldout(parts, encoder, folder, name, module.device).sampled["macro"],
    )  # fmt: skip
    trainer = _trainer(cfg, folder, benchmarks)
    if isinstance(parts.engine, OwnWeights):
        parts.engine.expect(trainer.world_size)
    if trainer.is_global_zero and checkpoint is None:
        write_estimate(cfg, parts, data.stream, folder)
    policy = parts.model.policy()
    others = parts.others
    module = G2RPOModule(
        policy=policy, reference=parts.model.reference(policy) if others["loss"].kl_coef else None, encoder=encoder,
        engine=parts.engine, reward=parts.reward, advantage=others["advantage"], loss=others["loss"], shaping=others["shaping"],
        batch=parts.batch, optimizer=others["optimizer"], prefix=others["policy"].prefix, group_filter=others["filter"],
        equity=others["equity"], max_grad_norm=cfg.max_grad_norm, failure_budget=cfg.reward_failures, seed=cfg.seed,
    )  # fmt: skip
    timer.done("setup")
    if not trainer.is_global_zero:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=False)
        return math.nan
    log.info("trains %s", parameter_counts(policy))
    device = trainer.strategy.root_device
    policy.to(device)
    before = heldout(parts, encoder, folder, "before", device, reuse=checkpoint is not None)
    timer.done("heldout_before")
    if checkpoint is None:
        _track(trainer, before, step=0)
    with _ending_others(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=False)
    timer.done("train", less={"benchmarks": benchmarks.spent_s})
    if benchmarks.entries:
        publish(folder, benchmarks.entries)
    save_checkpoint(policy, encoder, folder / "checkpoints" / "final", parts.model.dtype)
    if has_adapter(policy):
        save_adapter(policy, folder / "checkpoints" / "adapter", base=parts.model.path)
    policy.to(device)  # Lightning leaves it on the CPU
    after = heldout(parts, encoder, folder, "after", device)
    timer.done("heldout_after")
    summary = summarise(
        cfg, steps=trainer.global_step, before=before, after=after, stage_s=timer.stage_s, drawn=data.stream.counts,
        skipped=merged(index_skips(parts.source), data.skips.summary()),
        benchmarks=benchmarks.entries,
    )  # fmt: skip
    write_report(folder, summary)
    timer.done("report")
    _track(trainer, after, step=module.steps_done)
    for tracker in trackers(trainer.loggers):
        tracker.close(summary)
    write_summary(folder, summary)  # last of all: with it, the run is finished
    log.info("held-out macro %.3f -> %.3f (greedy %.3f -> %.3f)", *_macros(before, after))
    return after.sampled["macro"]


def heldout(parts: Parts, encoder: Any, folder: Path, name: str, device: torch.device, *, reuse: bool = False) -> HeldoutResult:
    """Scores the started engine on the held-out prompts, with a progress bar."""
    prompts = parts.heldout.prompts(parts.source)
    if reuse and (folder / "heldout" / f"{name}.jsonl").exists():
        return parts.heldout.read(folder / "heldout" / f"{name}.jsonl")
    with stage(f"held-out prompts, {name}", total=len(prompts)) as advance:
        return parts.heldout.run(
            parts.engine, encoder, parts.reward, prompts, folder / "heldout", name, advance, device,
            read=reader(parts.source, encoder.fit),
        )  # fmt: skip


def _trainer(cfg: DictConfig, folder: Path, benchmarks: BenchmarkCallback) -> L.Trainer:
    loggers = [instantiate(logger) for logger in cfg.logger.values()]
    callbacks = [instantiate(cfg.checkpoint), RunLog(folder=folder), benchmarks, TrackedSteps(), Progress()]
    trainer: L.Trainer = instantiate(cfg.trainer, logger=loggers, callbacks=callbacks)
    for tracker in trackers(loggers):
        tracker.log_hyperparams(settings_of(cfg))
    return trainer


@contextmanager
def _ending_others(trainer: L.Trainer) -> Iterator[None]:
    """When the first process fails, those it started end too: in the middle of a collective they would wait for it, with NCCL for long."""
    try:
        yield
    except Exception:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        raise


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """The configuration with everything it refers to, as plain values."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _track(trainer: L.Trainer, scores: HeldoutResult, *, step: int) -> None:
    """The held-out score of a step goes to W&B alone, which knows no other place for it; there is none without held-out prompts."""
    for tracker in trackers(trainer.loggers) if math.isfinite(scores.sampled["macro"]) else ():
        tracker.log_metrics({"heldout/macro": scores.sampled["macro"]}, step=step - 1)


def _macros(before: HeldoutResult, after: HeldoutResult) -> tuple[float, float, float, float]:
    return before.sampled["macro"], after.sampled["macro"], before.greedy["macro"], after.greedy["macro"]
