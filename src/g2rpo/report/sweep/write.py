"""Writes `sweep.html` and `sweep.csv` into a multirun folder."""

import csv
import io
import math
from pathlib import Path

from g2rpo.files import write_whole
from g2rpo.report.sweep.page import page
from g2rpo.report.sweep.sweep_data import SEED, JobResult, SweepResult, read_sweep


def write_sweep_report(folder: Path, against: str | None = None) -> Path:
    """Writes both, whole or not at all, and returns the path of the page.

    `against` names the variant that the others are compared with; None takes the first.
    Works on a sweep that has not ended: jobs that are missing, run or have failed are listed.
    Raises `ValueError` for a folder that is no multirun's, or has jobs of two sweeps or a broken
    file in it.
    """
    sweep = read_sweep(folder, against)
    drawn = page(sweep)
    write_whole(folder / "sweep.csv", csv_text(sweep))
    write_whole(folder / "sweep.html", drawn)
    return folder / "sweep.html"


def csv_text(sweep: SweepResult) -> str:
    """One row a job: its dimensions, its state, and the numbers of its summary.json as they stand
    there.
    """
    dimensions = list(dict.fromkeys([*sweep.dimensions, SEED]))
    scores = [f"heldout/{name}" if "/" not in name else name for name in sweep.columns]
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
