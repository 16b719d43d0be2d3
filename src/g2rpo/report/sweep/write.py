"""Writes `sweep.html` and `sweep.csv` into a multirun folder."""

import csv
import io
import math
from pathlib import Path

from g2rpo.files import write_whole
from g2rpo.report.sweep.page import page
from g2rpo.report.sweep.sweep_data import BENCHMARK, SEED, JobResult, SweepResult, read_sweep


def write_sweep_report(folder: Path, against: str | None = None) -> Path:
    """Write both files atomically and return the path of the page.

    The sweep may still run: missing, running and failed jobs are listed.

    Args:
        folder: The multirun folder.
        against: Name of the variant that the others are compared with; None takes the first.

    Raises:
        ValueError: If it is not a multirun folder, holds jobs of two sweeps, or a file is broken.
    """
    sweep = read_sweep(folder, against)
    drawn = page(sweep)
    write_whole(folder / "sweep.csv", csv_text(sweep))
    write_whole(folder / "sweep.html", drawn)
    return folder / "sweep.html"


def csv_text(sweep: SweepResult) -> str:
    """Return one row per job: dimensions, state, and the numbers of its summary.json."""
    dimensions = list(dict.fromkeys([*sweep.dimensions, SEED]))
    scores = [name if name.startswith(BENCHMARK) else f"heldout/{name}" for name in sweep.columns]
    header = [
        "job",
        *dimensions,
        "state",
        "steps",
        *scores,
        "heldout_before/macro",
        "heldout_greedy/macro",
        "time_s",
        "device_h",
        "config_hash",
    ]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for job in sweep.jobs:
        writer.writerow(_row(sweep, job, dimensions))
    return file.getvalue()


def _row(sweep: SweepResult, job: JobResult, dimensions: list[str]) -> list[str]:
    numbers = [job.scores.get(name) for name in sweep.columns] + [
        job.before.get("macro"),
        job.greedy.get("macro"),
    ]
    costs = [job.seconds, job.device_hours]
    steps = "" if job.summary is None else str(job.summary.get("steps", ""))
    return [
        job.name,
        *(job.planned.values.get(key, "") for key in dimensions),
        job.state,
        steps,
        *("" if value is None else repr(value) for value in numbers),
        *("" if math.isnan(value) else f"{value:.4f}" for value in costs),
        job.planned.hash,
    ]
