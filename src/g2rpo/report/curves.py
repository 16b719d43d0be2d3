"""What happened while training: plots over steps, from metrics.csv and, for rewards and advantages by task, completions.jsonl."""

import math
from collections.abc import Sequence
from itertools import groupby

from g2rpo.metrics import BY_NAME
from g2rpo.report.folder import Draws, Run
from g2rpo.report.head import stage_seconds
from g2rpo.report.markup import grid, section
from g2rpo.report.matrix import cosine_matrix
from g2rpo.report.palette import INK, PLAIN_COLORS, TASK_COLORS
from g2rpo.report.plots import Band, Line, bars, histogram, line_plot
from g2rpo.report.smooth import bucket_size, mean, window_size

SMALL_PX = (384, 250)
"""Width and height of the plots that stand three in a row."""


def curve_sections(run: Run) -> str:
    """All sections with plots."""
    parts = (learning_section, length_section, entropy_section, advantage_section, equity_section, optimisation_section, time_section)
    return "".join(part(run) for part in parts)


def column_line(run: Run, column: str, name: str, color: str) -> Line:
    """A column of metrics.csv as a curve."""
    steps, values = run.column(column)
    return Line(name=name, color=color, steps=steps, values=values)


def task_lines(run: Run, metric: str) -> list[Line]:
    """One curve for each task that has the metric."""
    lines = [column_line(run, f"{metric}/{task}", task, TASK_COLORS[task]) for task in run.tasks]
    return [line for line in lines if line.values]


def unit_of(metric: str) -> str:
    """What an axis says, in words."""
    return {"frac": "share", "1": ""}.get(BY_NAME[metric].unit, BY_NAME[metric].unit)


def task_plot(
    run: Run,
    metric: str,
    title: str,
    *,
    y_range: tuple[float, float] | None = None,
    reference: float | None = None,
    keep_zero: bool = False,
) -> list[str]:
    """The curves of all tasks in one plot; no plot where the metric was not logged."""
    lines = task_lines(run, metric)
    plot = line_plot(title=title, unit=unit_of(metric), lines=lines, y_range=y_range, reference=reference, keep_zero=keep_zero)
    return [plot] if lines else []


def plain_plot(run: Run, title: str, columns: Sequence[tuple[str, str]], *, keep_zero: bool = True) -> list[str]:
    """Columns that are no tasks, as (column, name), in one plot; no plot where none of them was logged."""
    lines = [column_line(run, column, name, color) for (column, name), color in zip(columns, PLAIN_COLORS, strict=False)]
    shown = [line for line in lines if line.values]
    return [line_plot(title=title, unit=unit_of(columns[0][0]), lines=shown, keep_zero=keep_zero)] if shown else []


def reading_help(run: Run) -> str:
    """What points and lines stand for in this run's curves."""
    size = bucket_size(len(run.metrics))
    window = window_size(math.ceil(len(run.metrics) / size))
    if size == window == 1:
        return "Points and lines: single steps."
    return f"Points: {'single steps' if size == 1 else f'means of {size} steps'}. Lines: their running mean over {window} points."


def learning_section(run: Run) -> str:
    """Accuracy, reward and format by task."""
    figures = task_plot(run, "reward/accuracy", "Accuracy by task", y_range=(0.0, 1.0)) + reward_plot(run)
    figures += task_plot(run, "reward/format", "Share in the asked format", y_range=(0.0, 1.0))
    figures += task_plot(run, "filter/kept_frac", "Share of drawn prompts kept by the filter", y_range=(0.0, 1.0))
    return section(
        anchor="learning",
        title="Accuracy and reward in training",
        caption=f"{reading_help(run)} Prompts differ from step to step. Reward of all tasks: reward/total, before shaping; "
        "by task: the mean reward in completions.jsonl.",
        body=grid(figures, columns=2),
    )


def reward_plot(run: Run) -> list[str]:
    """Mean reward of a step over all completions, and by task."""
    lines = []
    for task in run.tasks:
        steps, values = step_rewards(run.draws.get(task))
        lines.append(Line(name=task, color=TASK_COLORS[task], steps=steps, values=values))
    lines.append(column_line(run, "reward/total", "all tasks", INK))
    shown = [line for line in lines if line.values]
    return [line_plot(title="Total reward", unit="reward per completion", lines=shown)] if shown else []


def step_rewards(draws: Draws | None) -> tuple[list[float], list[float]]:
    """Steps and the mean reward of a task's completions in each."""
    rows = sorted(zip(draws.steps, draws.rewards, strict=True)) if draws else []
    by_step = [(float(step), mean([reward for _, reward in group])) for step, group in groupby(rows, key=lambda row: row[0])]
    return [step for step, _ in by_step], [reward for _, reward in by_step]


def length_section(run: Run) -> str:
    """Completion length, by task where length bands were set."""
    metric, bands = "rollout/completion_tokens", run.settings.length_bands
    told = "Bands: the lengths that the length part pays in full, and those it pays in part." if bands else "No length band was set."
    if bands:
        body = grid([small_plot(run, metric, task, length_stripes(bands.get(task))) for task in logged_tasks(run, metric)], columns=3)
    else:
        body = grid(task_plot(run, metric, "Completion length by task", keep_zero=True), columns=2)
    truncated = task_plot(run, "rollout/truncated_frac", "Completions cut at the longest length", keep_zero=True)
    body += grid(truncated, columns=2) if truncated else ""
    return section(anchor="length", title="Completion length", caption=f"{reading_help(run)} {told}", body=body)


def logged_tasks(run: Run, metric: str) -> list[str]:
    """Tasks that have values of a metric."""
    return [task for task in run.tasks if run.column(f"{metric}/{task}")[1]]


def length_stripes(band: tuple[float, float, float, float] | None) -> list[Band]:
    """Plateau and slopes of a length band."""
    if band is None:
        return []
    return [
        Band(name="pays in full", low=band[1], high=band[2], strength=0.34),
        Band(name="pays in part", low=band[0], high=band[3], strength=0.16),
    ]


def small_plot(run: Run, metric: str, task: str, bands: Sequence[Band]) -> str:
    """One task's curve against its bands."""
    line = column_line(run, f"{metric}/{task}", "mean", TASK_COLORS[task])
    width, height = SMALL_PX
    return line_plot(title=task, unit=unit_of(metric), lines=[line], bands=bands, keep_zero=True, width=width, height=height)


def entropy_section(run: Run) -> str:
    """Entropy, by task where an entropy band was set."""
    metric, bands = "policy/entropy_nats", run.settings.entropy_bands
    told = "Band: where the entropy is left alone." if bands else "No entropy band was set."
    if bands:
        body = grid([small_plot(run, metric, task, entropy_stripes(run, task)) for task in logged_tasks(run, metric)], columns=3)
    else:
        body = grid(task_plot(run, metric, "Entropy by task", keep_zero=True), columns=2)
    return section(anchor="entropy", title="Entropy of the policy", caption=f"{reading_help(run)} {told}", body=body)


def entropy_stripes(run: Run, task: str) -> list[Band]:
    """The entropy band of a task; an open side reaches to the frame."""
    low, high = run.settings.entropy_bands[task]
    return [Band(name="band", low=low, high=high, strength=0.25)]


def advantage_section(run: Run) -> str:
    """Moments of the advantages over time, and their distribution early and late."""
    figures = task_plot(run, "advantage/mean", "Mean advantage by task", reference=0.0)
    figures += task_plot(run, "advantage/std", "Standard deviation of the advantages", reference=1.0, keep_zero=True)
    figures += task_plot(run, "advantage/normal_distance", "Distance to the bell curve", keep_zero=True)
    figures += task_plot(run, "advantage/tie_frac", "Completions whose reward another one of their group has", y_range=(0.0, 1.0))
    figures += task_plot(run, "advantage/zero_signal_frac", "Groups in which all rewards agree", y_range=(0.0, 1.0))
    if used_terms(run, *((f"advantage/shaping_only_frac/{task}", task) for task in run.tasks)):
        figures += task_plot(run, "advantage/shaping_only_frac", "Groups that only length or KL set apart", y_range=(0.0, 1.0))
    shapes = [advantage_histogram(task, run.draws[task]) for task in run.tasks if task in run.draws]
    return section(
        anchor="advantages",
        title="Advantages",
        caption=f"{reading_help(run)} Dashed: the values of N(0, 1). Distance: largest gap between the two distribution functions. "
        "Histograms: all completions of the first and of the last quarter of the steps; the outermost bins hold what lies beyond 3.",
        body=grid(figures, columns=2) + (grid(shapes, columns=3) if shapes else ""),
    )


def advantage_histogram(task: str, draws: Draws) -> str:
    """A task's advantages in the first and the last quarter of its steps."""
    first, last = quarters(draws)
    return histogram(title=task, color=TASK_COLORS[task], first=first, last=last)


def quarters(draws: Draws) -> tuple[list[float], list[float]]:
    """Advantages of the first and of the last quarter of the steps (at least one step each)."""
    steps = sorted(set(draws.steps))
    size = max(1, len(steps) // 4)
    early, late = set(steps[:size]), set(steps[-size:])
    rows = list(zip(draws.steps, draws.advantages, strict=True))
    return [a for step, a in rows if step in early], [a for step, a in rows if step in late]


def equity_section(run: Run) -> str:
    """How evenly the tasks pull; nothing where it was not measured."""
    figures = task_plot(run, "equity/grad_norm", "Gradient norm of each task alone", keep_zero=True)
    figures += plain_plot(run, "Largest over smallest gradient norm of a task", [("equity/norm_ratio", "norm ratio")])
    figures += plain_plot(run, "Smallest cosine between two tasks' gradients", [("equity/min_cosine", "cosine")])
    figures += pull_matrix(run)
    if not figures:
        return ""
    return section(
        anchor="equity",
        title="Gradient equity",
        caption=f"{reading_help(run)} Each task's gradient by itself, on the step's own batch before the update. "
        "Cosine 1: two tasks pull the same way; 0: they do not touch each other; below 0: against each other.",
        body=grid(figures, columns=2),
    )


def pull_matrix(run: Run) -> list[str]:
    """Cosines between tasks' gradients, mean over the steps that measured both."""
    pairs = {(first, second): run.column(f"equity/cosine/{first}/{second}")[1] for first in run.tasks for second in run.tasks}
    means = {pair: mean(values) for pair, values in pairs.items() if values}
    return [cosine_matrix(title="Cosine between two tasks' gradients, mean", names=run.tasks, values=means)] if means else []


def optimisation_section(run: Run) -> str:
    """Clipping, gradient norm, the loss and its terms."""
    figures = plain_plot(run, "Tokens whose ratio the clip cut off", [("loss/clip_frac", "clip fraction")])
    figures += plain_plot(run, "Gradient norm before clipping", [("optim/grad_norm", "gradient norm")])
    figures += plain_plot(run, "Loss", [("loss/policy", "policy"), *used_terms(run, ("loss/entropy_band", "entropy band"))])
    figures += plain_plot(run, "Penalty to the reference", used_terms(run, ("loss/kl", "KL")))
    return section(anchor="optimisation", title="Optimisation", caption=reading_help(run), body=grid(figures, columns=2))


def used_terms(run: Run, *columns: tuple[str, str]) -> list[tuple[str, str]]:
    """Those of (column, name) that are not zero throughout: a term of the loss that is switched off is logged as 0."""
    return [(column, name) for column, name in columns if any(run.column(column)[1])]


def time_section(run: Run) -> str:
    """Where the time went, by step and by stage of the run."""
    figures = plain_plot(run, "Time of a step", [("time/step_s", "whole step"), ("time/rollout_s", "rollout"), ("time/update_s", "update")])
    stages = list(stage_seconds(run).items())
    figures += [bars(title="Stages of the run", unit="s", values=stages)] if stages else []
    told = f"{reading_help(run)} Rollout: drawing, generating and scoring completions."
    return section(anchor="time", title="Time", caption=told, body=grid(figures, columns=2))
