"""Reads a multirun folder for the page: the plan and the results of each job so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from g2rpo.metrics import task_of
from g2rpo.report.file_rows import metric_rows
from g2rpo.report.settings import named_tasks
from g2rpo.sweep.job import State, read_mark, read_summary, state_of, why
from g2rpo.sweep.sweep_plan import PLAN, Planned, read_plan
from g2rpo.tasks import MACRO, in_order

SEED = "seed"
BENCHMARK = "benchmark/"
"""What the names of benchmark scores begin with."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """A job. `summary` is None unless it is finished; `why` says how a failed one ended."""

    name: str
    folder: Path
    planned: Planned
    state: State
    summary: Mapping[str, Any] | None
    why: str

    @property
    def seed(self) -> str:
        """The seed as typed; jobs of one variant differ only in it."""
        return self.planned.values.get(SEED, "-")

    @property
    def variant(self) -> tuple[tuple[str, str], ...]:
        """Values of the dimensions, without the seed."""
        return tuple((key, value) for key, value in self.planned.values.items() if key != SEED)

    @cached_property
    def scores(self) -> dict[str, float]:
        """Scores in summary.json: `macro`, tasks, `benchmark/<name>`; empty before the end."""
        after = _scores(self.summary, "heldout", "after")
        benchmarks = (self.summary or {}).get("benchmarks") or {}
        return after | {
            f"{BENCHMARK}{name}": float(row["score"])
            for name, row in benchmarks.items()
            if row.get("score") is not None
        }

    @property
    def before(self) -> dict[str, float]:
        """Held-out scores before training."""
        return _scores(self.summary, "heldout", "before")

    @property
    def greedy(self) -> dict[str, float]:
        """Held-out scores after training, greedy."""
        return _scores(self.summary, "heldout_greedy", "after")

    @property
    def seconds(self) -> float:
        """Sum of the stages of the run in seconds; NaN before the end."""
        stages = (self.summary or {}).get("stage_s") or {}
        return math.fsum(stages.values()) if stages else math.nan

    @cached_property
    def config(self) -> Any:
        """The configuration of the job; empty before it has started."""
        path = self.folder / ".hydra" / "config.yaml"
        return OmegaConf.load(path) if path.is_file() else OmegaConf.create()

    @cached_property
    def device_hours(self) -> float:
        """Hours times number of devices; NaN if `trainer.devices` is not a number."""
        devices = OmegaConf.select(self.config, "trainer.devices")
        return (
            self.seconds / 3600 * devices if isinstance(devices, int) and devices > 0 else math.nan
        )

    @cached_property
    def metrics(self) -> dict[int, dict[str, float]]:
        """Rows of metrics.csv, `{step: {column: value}}`, also of a running job."""
        path = self.folder / "metrics.csv"
        return metric_rows(path, []) if path.is_file() else {}


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A sweep: its plan and the results of its jobs."""

    folder: Path
    command: str
    dimensions: tuple[str, ...]
    jobs: tuple[JobResult, ...]
    against: str | None = None
    """Name of the variant that the others are compared with; None: the first."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def finished(self) -> list[JobResult]:
        """Jobs with a summary."""
        return [job for job in self.jobs if job.state == "finished"]

    @property
    def variants(self) -> dict[tuple[tuple[str, str], ...], list[JobResult]]:
        """Jobs by what they differ in besides the seed, in the order of the sweep."""
        found: dict[tuple[tuple[str, str], ...], list[JobResult]] = {}
        for job in self.jobs:
            found.setdefault(job.variant, []).append(job)
        return found

    @property
    def columns(self) -> list[str]:
        """Scores that any job has: `macro`, tasks, benchmarks."""
        known = {name for job in self.jobs for name in job.scores}
        return [name for name in (MACRO, *self.tasks) if name in known] + sorted(
            name for name in known if name.startswith(BENCHMARK)
        )

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of all jobs so far: as their mixtures name them, then alphabetically."""
        scored = {name for job in self.jobs for name in job.scores if name != MACRO}
        columns = {column for job in self.jobs for row in job.metrics.values() for column in row}
        trained = {task for column in columns if (task := task_of(column)) is not None}
        found = trained | {name for name in scored if not name.startswith(BENCHMARK)}
        return in_order(found, [task for job in self.jobs for task in named_tasks(job.config)])


def read_sweep(folder: Path, against: str | None = None) -> SweepResult:
    """Read a multirun folder.

    Raises:
        ValueError: if it is no multirun folder, holds jobs of another sweep, or a file is broken.
    """
    plan = read_plan(folder)
    if plan is None:
        raise ValueError(
            f"{folder} is no multirun folder: expected {PLAN} or multirun.yaml in it"
            + _below(folder)
        )
    there = {path.parent.parent.name for path in folder.glob("*/.hydra/config.yaml")}
    if strangers := sorted(there - set(plan.jobs)):
        raise ValueError(
            f"{folder} holds two sweeps: {', '.join(strangers[:3])}"
            f" {'is' if len(strangers) == 1 else 'are'} not in its {PLAN}; move one of them into a"
            " folder of its own"
        )
    jobs = tuple(_job(folder / name, planned) for name, planned in plan.jobs.items())
    return SweepResult(
        folder=folder, command=plan.command, dimensions=plan.dimensions, jobs=jobs, against=against
    )


def is_multirun(folder: Path) -> bool:
    """Return whether a folder is a multirun folder or holds some."""
    return any((folder / name).is_file() for name in (PLAN, "multirun.yaml")) or bool(
        _below(folder)
    )


def _below(folder: Path) -> str:
    names = sorted(
        path.parent.name for name in (PLAN, "multirun.yaml") for path in folder.glob(f"*/{name}")
    )
    return (
        f"; multirun folders in it: {', '.join(dict.fromkeys(names))}; name one of them"
        if names
        else ""
    )


def _job(folder: Path, planned: Planned) -> JobResult:
    state = state_of(folder, planned.hash)
    mark = read_mark(folder) or {}
    return JobResult(
        name=folder.name,
        folder=folder,
        planned=planned,
        state=state,
        summary=read_summary(folder) if state == "finished" else None,
        why=why(folder, mark.get("exit_code")) if state in ("failed", "stopped") else "",
    )


def _scores(summary: Mapping[str, Any] | None, key: str, when: str) -> dict[str, float]:
    return {
        name: float(score)
        for name, score in (((summary or {}).get(key) or {}).get(when) or {}).items()
    }
