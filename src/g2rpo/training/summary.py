"""Writes `summary.json`, atomically and last: its presence means that the run is finished."""

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from g2rpo import __version__
from g2rpo.benchmark.evaluation.results import Entry, macro
from g2rpo.config_hash import config_hash
from g2rpo.files import write_whole
from g2rpo.training.heldout import HeldoutResult

PACKAGES = ("torch", "transformers", "lightning", "hydra-core")


def summarize(
    cfg: DictConfig,
    *,
    steps: int,
    before: HeldoutResult,
    after: HeldoutResult,
    stage_s: dict[str, float],
    drawn: dict[str, int],
    skipped: dict[str, Any],
    benchmarks: Mapping[str, Entry] | None = None,
) -> dict[str, Any]:
    """Return the contents of `summary.json`.

    `stage_s` is not copied, so that a later stage can still be added to it.
    """
    return {
        "status": "finished",
        "steps": steps,
        "heldout": {"before": _scores(before.sampled), "after": _scores(after.sampled)},
        "heldout_greedy": {"before": _scores(before.greedy), "after": _scores(after.greedy)},
        "benchmarks": dict(benchmarks or {}),
        "benchmark_means": macro(benchmarks or {}),
        "stage_s": stage_s,
        "prompts_drawn": drawn,
        "prompts_skipped": skipped,
        "config_hash": config_hash(cfg),
        "versions": {"g2rpo": __version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write `folder/summary.json` atomically."""
    write_whole(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")


def _scores(scores: dict[str, float]) -> dict[str, float]:
    """Drop scores that are NaN, which JSON lacks: the macro score without held-out prompts."""
    return {name: score for name, score in scores.items() if math.isfinite(score)}
