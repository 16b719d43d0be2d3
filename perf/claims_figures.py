"""The figures of perf/claims.py: panels of curves, each a mean over seeds, as SVG files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from figures import Curve, figure, panel
from matplotlib.axes import Axes

from g2rpo.data.gym.source import TASKS
from g2rpo.report.settings import read_settings
from g2rpo.report.sweep.sweep_data import JobResult, SweepResult
from g2rpo.report.sweep.variant_scores import reference, seed_gains, variant_name

Jobs = Mapping[str, list[JobResult]]
COLORS = {
    "grpo": "#d55e00",
    "g2rpo": "#0072b2",
    "length": "#009e73",
    "weight 0.02": "#009e73",
    "weight 0.2, low 0.1": "#e69f00",
    "weight 0.2, low 0.2": "#cc79a7",
}


def gradients_figure(grpo: Sequence[JobResult], g2rpo: Sequence[JobResult]) -> str:
    """How unevenly tasks pull, over the run."""
    curves = [
        curve(name, jobs, ["gradient/norm_ratio"])
        for name, jobs in (("grpo", grpo), ("g2rpo", g2rpo))
    ]
    title = "Largest over smallest gradient norm of a task, mean of three seeds"
    return figure([lambda axes: panel(axes, title, "ratio", curves, low=0.0)], size=(7.2, 3.2))


def outlier_figure(clean: Jobs, wrong: Jobs) -> str:
    """Accuracy in training, with a verifier that is right and one that errs."""
    accuracy = [f"reward/accuracy/{task}" for task in TASKS]

    def drawn(axes: Axes, title: str, jobs: Jobs) -> None:
        panel(
            axes,
            title,
            "accuracy, mean of the tasks",
            [curve(name, jobs[name], accuracy) for name in clean],
            low=0.2,
            high=0.8,
        )

    kinds = (("Verifier right", clean), ("Verifier errs in one of twenty", wrong))
    return figure(
        [lambda axes, own=own: drawn(axes, *own) for own in kinds], columns=2, size=(5.2, 3.2)
    )


def entropy_figure(rows: Jobs) -> str:
    """Entropy by task with and without the band."""
    bands = read_settings(rows["weight 0.02"][0].folder / ".hydra", []).entropy_bands
    return task_figure(
        rows,
        [name for name in rows if name != "grpo"],
        "policy/entropy_nats",
        "nats per token",
        "band 0.2 - 0.6",
        bands,
    )


def length_figure(rows: Jobs) -> str:
    """Tokens of a completion by task with and without the band."""
    bands = read_settings(rows["length"][0].folder / ".hydra", []).length_bands
    plateaus = {task: band[1:3] for task, band in bands.items()}
    return task_figure(
        rows, ("g2rpo", "length"), "rollout/completion_tokens", "tokens", "paid in full", plateaus
    )


def task_figure(
    rows: Jobs,
    names: Sequence[str],
    metric: str,
    unit: str,
    band: str,
    bands: Mapping[str, tuple[float, ...]],
) -> str:
    """A panel per task, with its band."""

    def drawn(axes: Axes, task: str) -> None:
        curves = [curve(name, rows[name], [f"{metric}/{task}"]) for name in names]
        panel(axes, task, unit, curves, low=0.0, band=(band, bands[task][0], bands[task][1]))

    return figure(
        [lambda axes, task=task: drawn(axes, task) for task in TASKS], columns=3, size=(4.0, 2.5)
    )


def ablation_figure(sweep: SweepResult) -> str:
    """The gain of each trained row, seed by seed; the gain of training at all would dwarf them."""
    trained = replace(
        sweep, jobs=tuple(job for job in sweep.jobs if job.planned.values["row"] != "base")
    )
    found = seed_gains(trained)

    def drawn(axes: Axes) -> None:
        for y, (mean, half, seeds) in enumerate(found.values()):
            axes.errorbar(
                [mean], [y], xerr=[half], fmt="|", color="#1f2730", markersize=14, markeredgewidth=3
            )
            axes.plot(seeds, [y] * len(seeds), "o", color="#0072b2", alpha=0.5)
        axes.axvline(0.0, color="#5b6672", linestyle="--", linewidth=1)
        axes.set_yticks(range(len(found)), list(found))
        axes.invert_yaxis()
        axes.set(
            title=f"Gain over {variant_name(reference(trained))}: seeds, mean, 95% t interval",
            xlabel="gain in held-out score",
        )

    return figure([drawn], size=(8.2, 1.2 + 0.35 * len(found)))


def curve(name: str, jobs: Sequence[JobResult], columns: Sequence[str]) -> Curve:
    """Mean over seeds and columns of a metric, at the steps where any of them has it."""
    steps = sorted(
        {
            step
            for job in jobs
            for step, row in job.metrics.items()
            if any(column in row for column in columns)
        }
    )
    found = [
        [
            job.metrics[step][column]
            for job in jobs
            for column in columns
            if column in job.metrics.get(step, {})
        ]
        for step in steps
    ]
    return Curve(
        name=name,
        color=COLORS[name],
        steps=[float(step) for step in steps],
        values=[fmean(values) for values in found],
    )
