"""One training run: build, check, load weights, validate, train, validate, report."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig

from g2rpo.benchmark.evaluation.results import Entry
from g2rpo.benchmark.evaluation.table import publish
from g2rpo.data.skips import index_skips, merged
from g2rpo.interfaces import OwnWeights
from g2rpo.launch import marks
from g2rpo.launch.marks import Stopped
from g2rpo.launch.meeting import is_first
from g2rpo.policy.adapter import has_adapter
from g2rpo.policy.export import save_adapter, save_checkpoint
from g2rpo.reward.functions import FunctionsReward
from g2rpo.training.benchmark_callback import Benchmarks
from g2rpo.training.build import build_data, build_module, build_trainer
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.estimate_run import write_estimate
from g2rpo.training.gold_check import refuse_bad_golds
from g2rpo.training.heldout import HeldoutResult
from g2rpo.training.interrupt import StopOnSignal
from g2rpo.training.launched import meet_launched
from g2rpo.training.model_card import write_card
from g2rpo.training.module import G2RPOModule
from g2rpo.training.parts import Parts, build_parts
from g2rpo.training.quiet import quieten
from g2rpo.training.resume import resume_checkpoint
from g2rpo.training.reward_trial import try_functions
from g2rpo.training.stopping import checkpoint_line, ended_by_signals
from g2rpo.training.summary import summarize, write_summary
from g2rpo.training.tracking.wandb_tracker import trackers

log = logging.getLogger("g2rpo")
NOTHING_ASKED = HeldoutResult(sampled={"macro": math.nan}, greedy={"macro": math.nan})
WriteReport = Callable[[Path, dict[str, Any] | None], Path]


class Timer:
    """Measures the seconds of each stage of a run."""

    def __init__(self) -> None:
        self.stage_s: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, name: str, less: Mapping[str, float] | None = None) -> None:
        """Record the time since the last call as a stage.

        Args:
            name: Name of the stage.
            less: Seconds of stages within it, which are recorded under their own names.
        """
        marks.mark()
        now = time.perf_counter()
        parts = {part: round(seconds, 3) for part, seconds in (less or {}).items() if seconds}
        self.stage_s |= {name: round(now - self._last - sum(parts.values()), 3), **parts}
        self._last = now


def run_training(cfg: DictConfig, *, write_report: WriteReport) -> float:
    """Train as configured and return the held-out macro score after training.

    All processes train and validate; only the first one writes files.

    Args:
        cfg: The composed configuration.
        write_report: Writes the report of a run folder and its summary; returns the path.

    Returns:
        The mean held-out accuracy over tasks, or NaN without held-out prompts.
    """
    quieten()
    folder = Path(cfg.run_dir)
    stop = StopOnSignal(folder=folder)

    def left(stopped: Stopped) -> list[str]:
        return [checkpoint_line(stopped), f"report: {_report(folder, write_report)}"]

    with ended_by_signals(stop, folder, left):
        return _run(cfg, folder, stop, write_report)


def _report(folder: Path, write_report: WriteReport) -> str:
    """Write the report of an interrupted run and return where it is."""
    try:
        return str(write_report(folder, None).resolve())
    except ValueError as error:  # stopped before there was anything to report
        return f"none yet ({error})"


def _run(cfg: DictConfig, folder: Path, stop: StopOnSignal, write_report: WriteReport) -> float:
    timer = Timer()
    checkpoint = resume_checkpoint(cfg.resume, folder)
    built = build_parts(cfg)
    with built.started() as parts:
        tasks = tuple(parts.mix.shares)
        if not isinstance(built.reward, FunctionsReward):
            refuse_bad_golds(
                parts.source,
                parts.reward,
                tasks=tasks,
                rules=built.reward,
                folder=folder,
                seed=cfg.seed,
            )
        elif is_first():
            try_functions(parts.source, parts.reward, tasks=tasks, functions=built.reward)
        return _trained(cfg, parts, folder, timer, checkpoint, stop, write_report)


def _trained(
    cfg: DictConfig,
    parts: Parts,
    folder: Path,
    timer: Timer,
    checkpoint: Path | None,
    stop: StopOnSignal,
    write_report: WriteReport,
) -> float:
    """Train between two validations, then write what the run leaves behind."""
    if is_first():
        begin_folder(folder, resumed=checkpoint is not None)
    data, trainer = build_data(cfg, parts), build_trainer(cfg, stop)
    if isinstance(parts.engine, OwnWeights):
        parts.engine.check_world_size(trainer.world_size)
    if trainer.is_global_zero and checkpoint is None:
        write_estimate(cfg, parts, data.stream, folder, trainer)
    module = build_module(cfg, parts, trainer)
    timer.done("setup")
    meet_launched(trainer)
    if module.policy is not None:  # sharded weights are checked once they are loaded
        module.optimizer()  # refuses weights that would not move, before a long validation
    before = _before(trainer, module, data, folder, resumed=checkpoint is not None)
    timer.done("heldout_before")
    with module.looking_ahead():
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    benchmarks, entries = _benchmarks(trainer)
    validation = module.validation
    timer.done("train", less={"benchmarks": benchmarks, "validation": validation.spent_s})
    if "after" not in validation.results:
        trainer.validate(module, datamodule=data, verbose=False)
    _save_final(module, parts, folder)
    after = validation.results.get("after", NOTHING_ASKED)
    if not trainer.is_global_zero:
        return after.sampled["macro"]
    _, entries = _benchmarks(trainer)
    if entries:
        publish(folder, entries)
    timer.done("heldout_after")
    summary = summarize(
        cfg,
        steps=trainer.global_step,
        before=before,
        after=after,
        stage_s=timer.stage_s,
        drawn=data.stream.counts,
        skipped=merged(index_skips(parts.source), data.skips.summary()),
        benchmarks=entries,
    )
    for name in ("final", "adapter"):
        if (folder / "checkpoints" / name).is_dir():
            write_card(folder / "checkpoints" / name, cfg, summary)
    write_report(folder, summary)
    timer.done("report")
    for tracker in trackers(trainer.loggers):
        tracker.close(summary)
    write_summary(folder, summary)  # last: its presence means that the run is finished
    log.info("held-out macro %.3f -> %.3f (greedy %.3f -> %.3f)", *_macros(before, after))
    return after.sampled["macro"]


def begin_folder(folder: Path, *, resumed: bool) -> None:
    """Remove the summary of an earlier run in this folder and, in a new run, its metrics."""
    (folder / "summary.json").unlink(missing_ok=True)
    if not resumed:
        (folder / "metrics.csv").unlink(missing_ok=True)


def _before(
    trainer: L.Trainer, module: G2RPOModule, data: PromptDataModule, folder: Path, *, resumed: bool
) -> HeldoutResult:
    """Return the scores before training; a resumed run reads them from its folder."""
    validation = module.validation
    assert validation is not None
    written = folder / "heldout" / "before.jsonl"
    if resumed and written.exists():
        return validation.heldout.read(written)
    trainer.validate(module, datamodule=data, verbose=False)
    return validation.results.pop("before", NOTHING_ASKED)


def _benchmarks(trainer: L.Trainer) -> tuple[float, dict[str, Entry]]:
    """Return the seconds spent on benchmarks, and their latest scores."""
    found = [callback for callback in trainer.callbacks if isinstance(callback, Benchmarks)]
    return sum(callback.spent_s for callback in found), {
        name: entry for callback in found for name, entry in callback.entries.items()
    }


def _save_final(module: G2RPOModule, parts: Parts, folder: Path) -> None:
    save_checkpoint(
        module.policy, module.encoder, folder / "checkpoints" / "final", parts.model.compute_dtype
    )
    if has_adapter(module.policy):
        save_adapter(module.policy, folder / "checkpoints" / "adapter", base=parts.model.path)


def _macros(before: HeldoutResult, after: HeldoutResult) -> tuple[float, float, float, float]:
    return (
        before.sampled["macro"],
        after.sampled["macro"],
        before.greedy["macro"],
        after.greedy["macro"],
    )
