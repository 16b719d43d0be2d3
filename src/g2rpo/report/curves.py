"""What happened in training: figures over steps, from metrics.csv and completions.jsonl."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from g2rpo.metrics import BY_NAME
from g2rpo.report import plots
from g2rpo.report.completions import Draws
from g2rpo.report.plots import Band, Figure, Line, line_plot
from g2rpo.report.run_data import Run
from g2rpo.report.smooth import bucket_size, mean, window_size
from g2rpo.tasks import of_task


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A section of the page: large figures two in a row, and small ones three in a row."""

    anchor: str
    title: str
    caption: str
    large: Sequence[Figure] = ()
    small: Sequence[Figure] = field(default=())


def curve_parts(run: Run) -> list[Part]:
    """Return all sections with figures."""
    parts = (
        _learning(run),
        _length(run),
        _entropy(run),
        _advantages(run),
        _gradient_conflict(run),
        _optimization(run),
        _time(run),
    )
    return [part for part in parts if part is not None]


def reading_help(run: Run) -> str:
    """Return what points and lines stand for in this run's curves."""
    size = bucket_size(len(run.metrics))
    window = window_size(math.ceil(len(run.metrics) / size))
    if size == window == 1:
        return "Each point is one step."
    points = "single steps" if size == 1 else f"means of {size} steps"
    return f"Points: {points}. Lines: their running mean over {window} points."


def column_line(run: Run, column: str, name: str, color: str) -> Line:
    """Return a column of metrics.csv as a curve."""
    steps, values = run.column(column)
    return Line(name=name, color=color, steps=steps, values=values)


def _task_lines(run: Run, metric: str) -> list[Line]:
    lines = [column_line(run, f"{metric}/{task}", task, run.palette[task]) for task in run.tasks]
    return [line for line in lines if line.values]


def _unit(metric: str) -> str:
    unit = BY_NAME[metric].unit if metric in BY_NAME else ""
    return {"frac": "share", "1": ""}.get(unit, unit)


def _by_task(
    run: Run,
    metric: str,
    title: str,
    *,
    share: bool = False,
    reference: float | None = None,
    keep_zero: bool = False,
) -> list[Figure]:
    """Return the curves of all tasks in one figure; nothing if the metric was not logged."""
    shown = _task_lines(run, metric)
    y_range = (-0.02, 1.02) if share else None
    figure = line_plot(
        title, _unit(metric), shown, y_range=y_range, reference=reference, keep_zero=keep_zero
    )
    return [figure] if shown else []


def _plain(run: Run, title: str, columns: Sequence[tuple[str, str]]) -> list[Figure]:
    """Return columns, as (column, name), in one figure; nothing if none of them was logged."""
    lines = [
        column_line(run, column, name, color)
        for (column, name), color in zip(columns, plots.COLORS, strict=False)
    ]
    shown = [line for line in lines if line.values]
    return [line_plot(title, _unit(columns[0][0]), shown, keep_zero=True)] if shown else []


def _used(run: Run, *columns: tuple[str, str]) -> list[tuple[str, str]]:
    """Return those of (column, name) that are not always 0, as a disabled term is."""
    return [(column, name) for column, name in columns if any(run.column(column)[1])]


def _learning(run: Run) -> Part:
    figures = _by_task(run, "reward/accuracy", "Accuracy by task", share=True) + _rewards(run)
    figures += _by_task(run, "reward/format", "Share in the requested format", share=True)
    for part in run.reward_parts:
        figures += _by_task(run, f"reward/{part}", f"Reward part {part}", keep_zero=True)
    figures += _by_task(run, "val/accuracy", "Held-out accuracy by task", share=True)
    figures += _benchmarks(run)
    figures += _by_task(
        run, "filter/kept_frac", "Share of drawn prompts kept by the filter", share=True
    )
    caption = (
        f"{reading_help(run)} Prompts differ from step to step. Reward of all tasks: reward/total, "
        "before shaping; by task: the mean reward in completions.jsonl."
    )
    return Part(
        anchor="learning", title="Accuracy and reward in training", caption=caption, large=figures
    )


def _benchmarks(run: Run) -> list[Figure]:
    """Return the scores of the first benchmarks that were run in training, and their mean."""
    columns = dict.fromkeys(column for row in run.metrics.values() for column in row)
    found = [column for column in columns if column.startswith("benchmark/score/")]
    named = [("benchmark/macro", "mean"), *((column, column.split("/")[2]) for column in found)]
    return _plain(run, "Benchmarks", named[: len(plots.COLORS)])


def _rewards(run: Run) -> list[Figure]:
    lines = []
    for task in run.tasks:
        steps, values = step_rewards(run.draws.get(task))
        lines.append(Line(name=task, color=run.palette[task], steps=steps, values=values))
    total = column_line(run, "reward/total", "all tasks", plots.INK)
    shown = [line for line in (*lines, total) if line.values]
    return [line_plot("Total reward", "reward per completion", shown)] if shown else []


def step_rewards(draws: Draws | None) -> tuple[list[float], list[float]]:
    """Return steps and the mean reward of a task's completions in each; NaN if none has one."""
    if draws is None:
        return [], []
    steps, place = np.unique(np.asarray(draws.steps), return_inverse=True)
    rewards = np.asarray(draws.rewards)
    known = np.isfinite(rewards)
    sums = np.bincount(place, np.where(known, rewards, 0.0), len(steps))
    counts = np.bincount(place, known, len(steps))
    means = np.divide(sums, counts, out=np.full(len(steps), np.nan), where=counts > 0)
    return steps.astype(float).tolist(), means.tolist()


def _banded(
    run: Run, metric: str, title: str, bands: dict[str, list[Band]]
) -> dict[str, list[Figure]]:
    """Return one small figure per task if there are bands, otherwise all tasks in a large one."""
    if not bands:
        return {"large": _by_task(run, metric, title, keep_zero=True)}
    small = [
        line_plot(line.name, _unit(metric), [line], bands=bands.get(line.name, ()), keep_zero=True)
        for line in _task_lines(run, metric)
    ]
    return {"small": small}


def _length(run: Run) -> Part:
    bands = {
        task: [
            Band(name="full", low=own[1], high=own[2], strength=0.3),
            Band(name="in part", low=own[0], high=own[3], strength=0.15),
        ]
        for task in run.tasks
        if (own := of_task(run.settings.length_bands, task, None)) is not None
    }
    told = (
        "Bands: the lengths that the length part pays in full, and those it pays in part."
        if bands
        else "No length band was set."
    )
    figures = _banded(run, "rollout/completion_tokens", "Completion length by task", bands)
    truncated = _by_task(
        run, "rollout/truncated_frac", "Completions cut off at the maximum length", keep_zero=True
    )
    figures["large"] = [*figures.get("large", ()), *truncated]
    return Part(
        anchor="length", title="Completion length", caption=f"{reading_help(run)} {told}", **figures
    )


def _entropy(run: Run) -> Part:
    bands = {
        task: [Band(name="band", low=band[0], high=band[1])]
        for task in run.tasks
        if (band := of_task(run.settings.entropy_bands, task, None)) is not None
    }
    told = "Band: where the entropy is left alone." if bands else "No entropy band was set."
    figures = _banded(run, "policy/entropy_nats", "Entropy by task", bands)
    caption = f"{reading_help(run)} {told}"
    return Part(anchor="entropy", title="Entropy of the policy", caption=caption, **figures)


def _advantages(run: Run) -> Part:
    figures = _by_task(run, "advantage/mean", "Mean advantage by task", reference=0.0)
    figures += _by_task(
        run, "advantage/std", "Standard deviation of the advantages", reference=1.0, keep_zero=True
    )
    figures += _by_task(
        run, "advantage/normal_distance", "Distance to the standard normal", keep_zero=True
    )
    figures += _by_task(
        run,
        "advantage/tie_frac",
        "Completions that share their reward with another of their group",
        share=True,
    )
    figures += _by_task(
        run, "advantage/zero_signal_frac", "Groups in which all rewards agree", share=True
    )
    if _used(run, *((f"advantage/shaping_only_frac/{task}", task) for task in run.tasks)):
        figures += _by_task(
            run,
            "advantage/shaping_only_frac",
            "Groups whose rewards differ only in length or KL",
            share=True,
        )
    quartered = {task: quarters(run.draws[task]) for task in run.tasks if task in run.draws}
    shapes = [
        plots.histogram(task, run.palette[task], first=first, last=last)
        for task, (first, last) in quartered.items()
    ]
    caption = (
        f"{reading_help(run)} Dashed: the values of N(0, 1). Distance: largest gap between the two "
        "distribution functions. Histograms: all completions of the first and of the last quarter "
        "of the steps; the outermost bins hold what lies beyond 3."
    )
    return Part(
        anchor="advantages", title="Advantages", caption=caption, large=figures, small=shapes
    )


def quarters(draws: Draws) -> tuple[list[float], list[float]]:
    """Return the advantages of the first and of the last quarter of the steps."""
    steps, place = np.unique(np.asarray(draws.steps), return_inverse=True)
    size = max(1, len(steps) // 4)
    advantages = np.asarray(draws.advantages)
    early, late = place < size, place >= len(steps) - size
    return advantages[early].tolist(), advantages[late].tolist()


def _gradient_conflict(run: Run) -> Part | None:
    figures = _by_task(run, "gradient/norm", "Gradient norm of each task alone", keep_zero=True)
    figures += _plain(
        run,
        "Largest over smallest gradient norm of a task",
        [("gradient/norm_ratio", "norm ratio")],
    )
    figures += _plain(
        run, "Smallest cosine between two tasks' gradients", [("gradient/min_cosine", "cosine")]
    )
    pairs = {
        (a, b): mean(run.column(f"gradient/cosine/{a}/{b}")[1])
        for a in run.tasks
        for b in run.tasks
    }
    known = {pair: cosine for pair, cosine in pairs.items() if math.isfinite(cosine)}
    if known:
        figures.append(plots.matrix("Cosine between two tasks' gradients, mean", run.tasks, known))
    caption = (
        f"{reading_help(run)} Each task's gradient by itself, on the step's own batch before the "
        "update. Cosine 1: two tasks pull the same way; 0: they do not affect each other; below 0: "
        "they pull against each other."
    )
    title = "Gradients of the tasks"
    part = Part(anchor="gradient_conflict", title=title, caption=caption, large=figures)
    return part if figures else None


def _optimization(run: Run) -> Part:
    figures = _plain(
        run, "Share of tokens whose ratio is clipped", [("loss/clip_frac", "clip fraction")]
    )
    figures += _plain(run, "Gradient norm before clipping", [("optim/grad_norm", "gradient norm")])
    figures += _plain(
        run, "Loss", [("loss/policy", "policy"), *_used(run, ("loss/entropy_band", "entropy band"))]
    )
    kl = _used(run, ("loss/kl", "KL"))
    figures += _plain(run, "Penalty to the reference", kl) if kl else []
    return Part(
        anchor="optimization", title="Optimization", caption=reading_help(run), large=figures
    )


def _time(run: Run) -> Part:
    figures = _plain(
        run,
        "Time of a step",
        [("time/step_s", "whole step"), ("time/rollout_s", "rollout"), ("time/update_s", "update")],
    )
    figures += [plots.bars("Stages of the run", "s", run.stage_s)] if run.stage_s else []
    caption = f"{reading_help(run)} Rollout: drawing, generating and scoring completions."
    return Part(anchor="time", title="Time", caption=caption, large=figures)
