"""Evaluates a checkpoint without training (`evaluate.py`), or scores saved predictions again."""

import csv
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from g2rpo.benchmark.evaluation.rescore import rescore
from g2rpo.benchmark.evaluation.results import Entry, macro
from g2rpo.benchmark.evaluation.suite import SuiteEvaluation
from g2rpo.benchmark.evaluation.table import publish
from g2rpo.benchmark.evaluation.two_protocols import publish_differences
from g2rpo.data.skips import index_skips
from g2rpo.launch.meeting import is_first
from g2rpo.redaction import redacted_values
from g2rpo.training.benchmark_callback import Benchmarks, benchmark_row
from g2rpo.training.build import all_of, build_data, build_module, build_trainer
from g2rpo.training.heldout import HeldoutResult
from g2rpo.training.interrupt import StopOnSignal
from g2rpo.training.launched import meet_launched
from g2rpo.training.parts import build_parts, plain
from g2rpo.training.progress import Progress
from g2rpo.training.quiet import quieten
from g2rpo.training.run import NOTHING_ASKED, Timer, begin_folder
from g2rpo.training.stopping import ended_by_signals
from g2rpo.training.summary import summarize, write_summary
from g2rpo.training.tracking.wandb_tracker import WandbTracker, trackers

log = logging.getLogger("g2rpo")


def run_evaluation(cfg: DictConfig) -> float:
    """Evaluate a checkpoint: the benchmarks of `eval`, then the held-out prompts.

    Benchmarks come first because a killed evaluation can resume them.

    Returns:
        The mean score over benchmarks or, without benchmarks, over the tasks of the held-out
        prompts.
    """
    quieten()
    folder = Path(cfg.run_dir)
    stop = StopOnSignal(folder=folder)
    kept = f"answers to benchmarks are kept in {(folder / 'eval').resolve()}"
    with ended_by_signals(stop, folder, lambda stopped: [f"{stopped}: {kept}"]):
        return _evaluate(cfg, folder, stop)


def _evaluate(cfg: DictConfig, folder: Path, stop: StopOnSignal) -> float:
    timer = Timer()
    refuse_trained(folder)
    if is_first():
        begin_folder(folder, resumed=False)
    trainer = build_trainer(cfg)
    asked = Benchmarks(folder=folder, before=True, keep_best=False)
    trainer.callbacks = [
        asked,
        *(callback for callback in trainer.callbacks if isinstance(callback, Progress)),
        stop,
    ]
    for tracker in trackers(trainer.loggers):
        tracker.job_type = "evaluate"
    with build_parts(cfg).started() as parts:
        module, data = build_module(cfg, parts, trainer), build_data(cfg, parts, updates=1)
        timer.done("setup")
        meet_launched(trainer)
        trainer.validate(module, datamodule=data, verbose=False)
    timer.done("heldout_before", less={"benchmarks": asked.spent_s})
    validation, entries = module.validation, asked.entries
    assert validation is not None
    result = validation.results.get("before", NOTHING_ASKED)
    if not trainer.is_global_zero:
        return result.sampled["macro"]
    if entries:
        publish(folder, entries)
    for name, score in result.sampled.items() if len(result.sampled) > 1 else ():
        log.info("%-12s sampled %.3f   greedy %.3f", name, score, result.greedy[name])
    _finish(cfg, timer, result, entries, index_skips(parts.source), trainer.loggers)
    return macro(entries)["macro"] if entries else result.sampled["macro"]


def run_rescore(cfg: DictConfig) -> float:
    """Score saved predictions again without loading weights; return the mean over benchmarks."""
    quieten()
    timer, folder = Timer(), Path(cfg.run_dir)
    refuse_trained(folder)
    # no benchmarks, because building them would load their rows
    suite: SuiteEvaluation = instantiate(cfg.eval, _convert_="all", benchmarks=[])
    entries = rescore(
        Path(cfg.source),
        suite.names(cfg.eval.benchmarks),
        suite.benchmark,
        suite.scoring,
        folder / "eval",
    )
    beside = _beside(cfg, suite, entries)
    timer.done("rescore")
    publish(folder, entries)
    if beside:
        publish_differences(folder / "eval", folder / "eval" / cfg.beside, entries, beside)
    loggers = all_of(cfg, "logger")
    for logger in loggers:
        if isinstance(logger, WandbTracker):
            logger.job_type = "evaluate"
            logger.log_benchmarks(entries, 0)
        logger.log_hyperparams(redacted_values(plain(cfg)))
        logger.log_metrics(benchmark_row(entries), step=0)
    _finish(cfg, timer, HeldoutResult(sampled={}, greedy={}), entries, {}, loggers)
    return macro(entries)["macro"]


def refuse_trained(folder: Path) -> None:
    """Raise `ValueError` for the folder of a training run, whose metrics would be overwritten."""
    file = folder / "metrics.csv"
    if not file.is_file():
        return
    with file.open(newline="", encoding="utf-8") as rows:
        steps = [int(row["step"]) for row in csv.DictReader(rows)]
    if any(steps):
        raise ValueError(
            f"hydra.run.dir={folder}: expected a folder without a training run, got one with"
            f" metrics.csv up to step {max(steps)}, which would be lost; choose another"
            " hydra.run.dir, or leave it out for a new folder"
        )


def _beside(cfg: DictConfig, suite: SuiteEvaluation, entries: dict[str, Entry]) -> dict[str, Entry]:
    """Score the same predictions by the protocol `beside`, if it is another one."""
    names = [name for name in entries if cfg.beside in suite.benchmark(name).protocols]
    if cfg.beside == suite.scoring.protocol or not names:
        return {}
    scoring = replace(suite.scoring, protocol=cfg.beside)
    folder = Path(cfg.run_dir) / "eval" / cfg.beside
    return rescore(Path(cfg.source), names, suite.benchmark, scoring, folder)


def _finish(
    cfg: DictConfig,
    timer: Timer,
    scores: HeldoutResult,
    entries: dict[str, Entry],
    skipped: dict[str, Any],
    loggers: list[Any],
) -> None:
    summary = summarize(
        cfg,
        steps=0,
        before=scores,
        after=scores,
        stage_s=timer.stage_s,
        drawn={},
        skipped=skipped,
        benchmarks=entries,
    )
    for tracker in trackers(loggers):
        tracker.close(summary)
    write_summary(Path(cfg.run_dir), summary)
