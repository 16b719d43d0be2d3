"""The figures of perf/estimators.py, as SVG files."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from figures import Curve, figure, panel
from matplotlib.axes import Axes

from g2rpo.data.gym.hard import TASKS
from g2rpo.report.sweep.sweep_data import JobResult

Jobs = Mapping[str, list[JobResult]]
COLORS = (
    "#000000",
    "#0072b2",
    "#56b4e9",
    "#d55e00",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#7a8794",
    "#a6761d",
    "#6a3d9a",
    "#f0027f",
)

PIECE = 15
"""Steps that a point of a curve is a mean over: a step has three prompts of a task."""


def learning_figure(jobs: Jobs) -> str:
    """Accuracy in training by task, one curve per estimator, mean over its seeds."""
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(jobs)}

    def drawn(axes: Axes, task: str) -> None:
        curves = [curve(name, own, task, colors[name]) for name, own in jobs.items()]
        panel(axes, task, "accuracy in training", curves, low=0.0, high=1.02)
        if task != TASKS[0]:
            axes.get_legend().remove()

    return figure(
        [lambda axes, task=task: drawn(axes, task) for task in TASKS], columns=2, size=(5.2, 3.0)
    )


def curve(name: str, jobs: Sequence[JobResult], task: str, color: str) -> Curve:
    """Mean of the seeds over pieces of `PIECE` steps."""
    found: dict[int, list[float]] = {}
    for job in jobs:
        for step, row in job.metrics.items():
            if (value := row.get(f"reward/accuracy/{task}")) is not None:
                found.setdefault((step - 1) // PIECE, []).append(value)
    pieces = sorted(found)
    return Curve(
        name=name,
        color=color,
        steps=[(piece + 0.5) * PIECE for piece in pieces],
        values=[fmean(found[piece]) for piece in pieces],
    )


def differences_figure(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Difference to GRPO of every seed and their mean, one panel per measure."""

    def drawn(axes: Axes, label: str) -> None:
        for row, values in enumerate(found[label].values()):
            axes.plot(values, [row] * len(values), "o", color="#7a8794", markersize=3, alpha=0.6)
            axes.plot(
                [fmean(values)], [row], "|", color="#d55e00", markersize=14, markeredgewidth=2
            )
        axes.axvline(0.0, color="#000000", linewidth=0.7)
        axes.set_yticks(range(len(found[label])), list(found[label]))
        axes.invert_yaxis()
        axes.set_title(f"{label}, difference to grpo")
        axes.grid(alpha=0.3, axis="x")

    return figure(
        [lambda axes, label=label: drawn(axes, label) for label in found],
        columns=2 if len(found) % 2 == 0 else 1,
        size=(6.4, 2.6),
    )
