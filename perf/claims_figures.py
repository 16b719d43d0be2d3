"""The figures of perf/claims.py: panels of curves, each a mean over seeds, in one SVG file that any viewer shows."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from g2rpo.prompt import TASKS
from g2rpo.report.plots import Band, Line, line_plot
from g2rpo.report.settings import read_settings
from g2rpo.report.svg import SVG_STYLE
from g2rpo.report.sweep.folder import JobResult, SweepResult
from g2rpo.report.sweep.scores import gain_plot

Jobs = Mapping[str, list[JobResult]]
COLORS = {
    "grpo": "#d55e00",
    "g2rpo": "#0072b2",
    "length": "#009e73",
    "weight 0.02": "#009e73",
    "weight 0.2, low 0.1": "#e69f00",
    "weight 0.2, low 0.2": "#cc79a7",
}
MARGIN = 14
PANEL = (400, 250)
"""Pixels of a panel."""


def equity_figure(grpo: Sequence[JobResult], g2rpo: Sequence[JobResult]) -> str:
    """How unevenly tasks pull, over the run."""
    lines = [curve(name, jobs, ["equity/norm_ratio"]) for name, jobs in (("grpo", grpo), ("g2rpo", g2rpo))]
    title = "Largest over smallest gradient norm of a task, mean of three seeds"
    return figure([line_plot(title=title, unit="ratio", lines=lines, keep_zero=True, width=720, height=320)], columns=1)


def outlier_figure(clean: Jobs, wrong: Jobs) -> str:
    """Accuracy in training, with a verifier that is right and one that errs."""
    accuracy = [f"reward/accuracy/{task}" for task in TASKS]
    panels = [
        line_plot(title=title, unit="accuracy, mean of the tasks", y_range=(0.2, 0.8), width=520, height=320,
                  lines=[curve(name, jobs[name], accuracy) for name in clean])
        for title, jobs in (("Verifier right", clean), ("Verifier errs in one of twenty", wrong))
    ]  # fmt: skip
    return figure(panels, columns=2)


def entropy_figure(rows: Jobs) -> str:
    """Entropy by task with and without the band."""
    bands = read_settings(rows["weight 0.02"][0].folder / ".hydra", []).entropy_bands
    return task_figure(rows, [name for name in rows if name != "grpo"], "policy/entropy_nats", "nats per token", "band 0.2 - 0.6", bands)


def length_figure(rows: Jobs) -> str:
    """Tokens of a completion by task with and without the band."""
    bands = read_settings(rows["length"][0].folder / ".hydra", []).length_bands
    plateaus = {task: band[1:3] for task, band in bands.items()}
    return task_figure(rows, ("g2rpo", "length"), "rollout/completion_tokens", "tokens", "paid in full", plateaus)


def task_figure(rows: Jobs, names: Sequence[str], metric: str, unit: str, band: str, bands: Mapping[str, tuple[float, ...]]) -> str:
    """A panel per task, with its band."""
    panels = []
    for task in TASKS:
        lines = [curve(name, rows[name], [f"{metric}/{task}"]) for name in names]
        stripe = Band(name=band, low=bands[task][0], high=bands[task][1], strength=0.2)
        panels.append(line_plot(title=task, unit=unit, lines=lines, bands=[stripe], keep_zero=True, width=PANEL[0], height=PANEL[1]))
    return figure(panels, columns=3)


def ablation_figure(sweep: SweepResult) -> str:
    """The gain of each trained row, seed by seed; beside them, that of training at all would leave no room."""
    trained = replace(sweep, jobs=tuple(job for job in sweep.jobs if job.planned.values["row"] != "base"))
    plot = re.search("<svg.*</svg>", gain_plot(trained, width=820), re.DOTALL)
    assert plot is not None, "a finished sweep has gains"
    return figure([plot[0]], columns=1)


def curve(name: str, jobs: Sequence[JobResult], columns: Sequence[str]) -> Line:
    """Mean over seeds and columns of a metric, at the steps where any of them has it."""
    steps = sorted({step for job in jobs for step, row in job.metrics.items() if any(column in row for column in columns)})
    found = [[job.metrics[step][column] for job in jobs for column in columns if column in job.metrics.get(step, {})] for step in steps]
    return Line(name=name, color=COLORS[name], steps=[float(step) for step in steps], values=[fmean(values) for values in found])


def figure(panels: Sequence[str], *, columns: int) -> str:
    """Plots side by side in a file of its own, on white."""
    sizes = []
    for panel in panels:
        found = re.search(r'viewBox="0 0 ([0-9]+) ([0-9]+)"', panel)
        assert found is not None, "every plot of the report has one"
        sizes.append((int(found[1]), int(found[2])))
    wide, high = (max(size[axis] for size in sizes) + MARGIN for axis in (0, 1))
    width, height = wide * min(columns, len(panels)) + MARGIN, high * math.ceil(len(panels) / columns) + MARGIN
    places = [(MARGIN + wide * (i % columns), MARGIN + high * (i // columns)) for i in range(len(panels))]
    placed = [panel.replace("<svg ", f'<svg x="{x}" y="{y}" ', 1) for panel, (x, y) in zip(panels, places, strict=True)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    style = f"<style>svg {{ font-family: sans-serif; }}{SVG_STYLE}</style>"
    return f'{head}{style}<rect width="{width}" height="{height}" fill="#fff"/>{"".join(placed)}</svg>\n'
