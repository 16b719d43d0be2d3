"""A made-up ablation of six rows and three seeds, written file by file as a sweep writes it."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from omegaconf import OmegaConf

from g2rpo.config_hash import config_hash
from g2rpo.data.gym.source import TASKS

ROWS = {"base": 0.38, "grpo": 0.69, "g2rpo": 0.70, "entropy": 0.71, "length": 0.705, "full": 0.72}
STEPS = 60


def job_of(sweep: Path, row: str, seed: int) -> Path:
    return sweep / f"row={row},seed={seed}"


def write_job(folder: Path, row: str, seed: int, rng: Random) -> str:
    """A finished job; returns its hash."""
    cfg = OmegaConf.create({"row": row, "seed": seed, "trainer": {"devices": 2}, "run_dir": "x"})
    cfg.task_mix = {"weights": dict.fromkeys(TASKS, 1.0)}
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
    OmegaConf.save(
        OmegaConf.create([f"row={row}", f"seed={seed}"]), folder / ".hydra" / "overrides.yaml"
    )
    offsets = {task: 0.1 * math.sin(i) for i, task in enumerate(TASKS)}
    scores = {
        task: ROWS[row] + offsets[task] + rng.gauss(0, 0.012 if row != "base" else 0.0)
        for task in TASKS
    }
    scores["macro"] = sum(scores[task] for task in TASKS) / 6
    before = {"macro": 0.381} | dict.fromkeys(TASKS, 0.381)
    summary: dict[str, Any] = {
        "status": "finished",
        "steps": 0 if row == "base" else STEPS,
        "heldout": {"before": before, "after": scores},
        "heldout_greedy": {"before": before, "after": scores},
        "benchmarks": {},
        "stage_s": {"setup": 4.5, "train": 200.25 + seed},
        "config_hash": config_hash(cfg),
        "versions": {},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    if row != "base":
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *(f"reward/accuracy/{task}" for task in TASKS)])
            for step in range(1, STEPS + 1):
                lift = 0.35 * (1 - math.exp(-step / 18)) * ROWS[row] / 0.7
                writer.writerow(
                    [step, *(0.38 + offsets[task] + lift + rng.gauss(0, 0.05) for task in TASKS)]
                )
    return summary["config_hash"]


def fabricate(sweep: Path) -> None:
    """All 18 jobs, finished."""
    rng = Random(5)
    jobs = {}
    for row in ROWS:
        for seed in range(3):
            folder = job_of(sweep, row, seed)
            found = write_job(folder, row, seed, rng)
            jobs[folder.name] = {
                "values": {"row": row, "seed": str(seed)},
                "overrides": [f"row={row}", f"seed={seed}"],
                "config_hash": found,
            }
    plan = {
        "command": "python train.py -cd sweeps -cn paper_ablation -m",
        "dimensions": ["row", "seed"],
        "jobs": jobs,
    }
    (sweep / "sweep.json").write_text(json.dumps(plan))


@pytest.fixture
def ablation(tmp_path: Path) -> Path:
    """A finished sweep of the test's own."""
    fabricate(tmp_path / "paper_ablation")
    return tmp_path / "paper_ablation"


@pytest.fixture
def unfinished(ablation: Path) -> Path:
    """The same while it goes on: one job not begun, one failed, one killed, one running on another
    machine.
    """
    (job_of(ablation, "full", 2) / "summary.json").unlink()
    for row, host, code in (
        ("full", "elsewhere", None),
        ("length", "here", 1),
        ("entropy", "here", -9),
    ):
        folder = job_of(ablation, row, 1)
        (folder / "summary.json").unlink()
        (folder / "process.json").write_text(
            json.dumps(
                {"host": host, "pid": 1, "started_s": 0.0, "ended_s": 1.0, "exit_code": code}
            )
        )
    (job_of(ablation, "length", 1) / "error.txt").write_text(
        "Traceback\nRuntimeError: loss became nan\n"
    )
    return ablation


@pytest.fixture
def change() -> Callable[[Path, dict[str, Any]], None]:
    """Overwrites keys of a JSON file."""

    def rewrite(path: Path, keys: dict[str, Any]) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))

    return rewrite
