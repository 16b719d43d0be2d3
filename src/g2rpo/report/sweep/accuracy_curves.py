"""Accuracy of each task in training: a curve per variant, the mean over seeds, with its range."""

import math
from collections.abc import Sequence

from g2rpo.report.plots import COLORS, Figure, Line, range_plot
from g2rpo.report.smooth import bucket_size, bucketed, mean, running_mean, window_size
from g2rpo.report.sweep.sweep_data import JobResult, SweepResult
from g2rpo.report.sweep.variant_scores import Variant, by_seed, reference, variant_name

METRIC = "reward/accuracy"
Course = tuple[Line, list[float], list[float]]
"""The mean over seeds, their lowest and their highest value."""


def shown_variants(sweep: SweepResult) -> list[Variant]:
    """Return as many variants as there are colors: the reference, and of the others the best."""
    if len(sweep.variants) <= len(COLORS):
        return list(sweep.variants)
    first = reference(sweep)
    others = [variant for variant in sweep.variants if variant != first]
    ranked = sorted(
        others, key=lambda v: -_level(list(by_seed(sweep.variants[v], "macro").values()))
    )
    return [first, *ranked[: len(COLORS) - 1]]


def _level(values: Sequence[float]) -> float:
    level = mean(values)
    return level if math.isfinite(level) else -math.inf


def curve_figures(sweep: SweepResult) -> list[Figure]:
    """Return one figure per task; none before the first step of the first job."""
    variants = shown_variants(sweep)
    return [
        range_plot(task, "accuracy, share", courses)
        for task in sweep.tasks
        if (courses := _courses(sweep, variants, task))
    ]


def _courses(sweep: SweepResult, variants: Sequence[Variant], task: str) -> list[Course]:
    courses = []
    for variant, color in zip(variants, COLORS, strict=False):
        seeds = [smoothed(job, f"{METRIC}/{task}") for job in sweep.variants[variant]]
        course = joined(variant_name(variant), color, [own for own in seeds if own])
        courses += [course] if course[0].steps else []
    return courses


def smoothed(job: JobResult, column: str) -> dict[float, float]:
    """Return the running mean of a job's column, by step."""
    found = [
        (float(step), row[column]) for step, row in sorted(job.metrics.items()) if column in row
    ]
    size = bucket_size(len(found))
    xs, ys = bucketed([x for x, _ in found], size), bucketed([y for _, y in found], size)
    values = running_mean(ys, window_size(len(ys)))
    return {x: y for x, y in zip(xs, values, strict=True) if math.isfinite(y)}


def joined(name: str, color: str, seeds: Sequence[dict[float, float]]) -> Course:
    """Join seeds at every step that any of them has."""
    steps = sorted({step for own in seeds for step in own})
    at = [[own[step] for own in seeds if step in own] for step in steps]
    line = Line(name=name, color=color, steps=steps, values=[mean(values) for values in at])
    return line, [min(values) for values in at], [max(values) for values in at]
