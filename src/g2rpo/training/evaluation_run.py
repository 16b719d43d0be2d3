"""What `evaluate.py` does: the benchmarks and the held-out prompts of a checkpoint, or saved predictions judged again."""

import logging
import math
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from g2rpo.data.skips import index_skips
from g2rpo.evaluation.heldout import HeldoutResult
from g2rpo.evaluation.rescore import rescore
from g2rpo.evaluation.results import Entry, macro
from g2rpo.evaluation.suite import SuiteEvaluation, model_settings, weights_digest
from g2rpo.evaluation.table import publish
from g2rpo.tracking.wandb_tracker import WandbTracker, trackers
from g2rpo.training.benchmark_callback import benchmark_row
from g2rpo.training.parts import build_parts, device_of
from g2rpo.training.progress import stage
from g2rpo.training.quiet import quieten
from g2rpo.training.run import Timer, heldout, settings_of
from g2rpo.training.summary import summarise, write_summary

log = logging.getLogger("g2rpo")


def run_evaluation(cfg: DictConfig) -> float:
    """Scores of a checkpoint, without training: the benchmarks of `eval`, then the held-out prompts.

    Benchmarks come first because they go on where a killed evaluation stood. Returns the mean over benchmarks, or over the tasks of
    the held-out prompts where no benchmark is asked.
    """
    quieten()
    timer, folder = Timer(), Path(cfg.run_dir)
    entries: dict[str, Entry] = {}
    with build_parts(cfg).started() as parts:
        encoder, device = parts.model.encoder(), device_of(cfg)
        policy = parts.model.policy().to(device)
        parts.engine.start(policy, encoder)
        timer.done("setup")
        if parts.suite.benchmarks:
            model = {**model_settings(parts.model), "weights": weights_digest(policy.named_parameters())}
            entries = parts.suite.run(parts.engine, encoder, folder / "eval", model=model, device=device, stage=stage)
            timer.done("benchmarks")
            publish(folder, entries)
        result = heldout(parts, encoder, folder, "before", device)
    timer.done("heldout_before")
    for name, score in result.sampled.items() if len(result.sampled) > 1 else ():
        log.info("%-12s sampled %.3f   greedy %.3f", name, score, result.greedy[name])
    _finish(cfg, timer, result, entries, index_skips(parts.source))
    return macro(entries)["macro"] if entries else result.sampled["macro"]


def run_rescore(cfg: DictConfig) -> float:
    """Judges saved predictions again; returns the mean over benchmarks. Loads no weights."""
    quieten()
    timer, folder = Timer(), Path(cfg.run_dir)
    suite: SuiteEvaluation = instantiate(cfg.eval, _convert_="all", benchmarks=[])  # nothing is asked: no row source
    entries = rescore(Path(cfg.source), cfg.eval.benchmarks, suite.benchmark, suite.scoring, folder / "eval")
    timer.done("rescore")
    publish(folder, entries)
    _finish(cfg, timer, HeldoutResult(sampled={}, greedy={}), entries, {})
    return macro(entries)["macro"]


def _finish(cfg: DictConfig, timer: Timer, scores: HeldoutResult, entries: dict[str, Entry], skipped: dict[str, Any]) -> None:
    summary = summarise(
        cfg, steps=0, before=scores, after=scores, stage_s=timer.stage_s, drawn={}, skipped=skipped, benchmarks=entries
    )  # fmt: skip
    for tracker in trackers([instantiate(logger) for logger in cfg.logger.values()]):
        _track(tracker, cfg, scores, entries, summary)
    write_summary(Path(cfg.run_dir), summary)


def _track(tracker: WandbTracker, cfg: DictConfig, scores: HeldoutResult, entries: dict[str, Entry], summary: dict[str, Any]) -> None:
    """An evaluation is a run of its own in W&B, and step 0 its only one."""
    tracker.job_type = "evaluate"
    tracker.log_hyperparams(settings_of(cfg))
    heldout_macro = scores.sampled.get("macro", math.nan)
    row = {"heldout/macro": heldout_macro} if math.isfinite(heldout_macro) else {}
    tracker.log_metrics(row | (benchmark_row(entries) if entries else {}), step=-1)
    tracker.log_benchmarks(entries, 0)
    tracker.close(summary)
