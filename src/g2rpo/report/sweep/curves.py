"""Accuracy of each task while training: one curve a variant, the mean over its seeds, in a band from the lowest to the highest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from g2rpo.prompt import TASKS
from g2rpo.report.markup import grid, section
from g2rpo.report.palette import INK
from g2rpo.report.smooth import bucket_size, bucketed, mean, running_mean, window_size
from g2rpo.report.svg import Frame, Key, axes, drawing, legend, rounded_range
from g2rpo.report.sweep.folder import JobResult, SweepResult
from g2rpo.report.sweep.scores import Variant, by_seed, reference, variant_name

COLORS = (INK, "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195")
METRIC = "reward/accuracy"
WIDTH, HEIGHT = 584, 300


@dataclass(frozen=True, kw_only=True)
class Course:
    """A variant over steps: mean, lowest and highest of its seeds."""

    name: str
    color: str
    steps: list[float]
    middle: list[float]
    low: list[float]
    high: list[float]


def shown_variants(sweep: SweepResult) -> list[Variant]:
    """As many as there are colours: the reference, and of the others the best."""
    if len(sweep.variants) <= len(COLORS):
        return list(sweep.variants)
    first = reference(sweep)
    others = [variant for variant in sweep.variants if variant != first]
    ranked = sorted(others, key=lambda v: -_level(list(by_seed(sweep.variants[v], "macro").values())))
    return [first, *ranked[: len(COLORS) - 1]]


def _level(values: Sequence[float]) -> float:
    level = mean(values)
    return level if math.isfinite(level) else -math.inf


def curve_section(sweep: SweepResult) -> str:
    """One plot a task; nothing before the first step of the first job."""
    variants = shown_variants(sweep)
    figures = [task_plot(task, courses) for task in TASKS if (courses := _courses(sweep, variants, task))]
    left_out = len(sweep.variants) - len(variants)
    told = f" {left_out} variants with lower scores are left out." if left_out else ""
    return section(
        anchor="curves",
        title="Accuracy in training",
        caption="Running mean of each job over steps; line: mean over seeds, band: from the lowest to the highest seed. Jobs that run or "
        f"have failed are in it as far as they came. Prompts differ from step to step.{told}",
        body=grid(figures, columns=2),
    )


def _courses(sweep: SweepResult, variants: Sequence[Variant], task: str) -> list[Course]:
    courses = []
    for variant, color in zip(variants, COLORS, strict=False):
        seeds = [smoothed(job, f"{METRIC}/{task}") for job in sweep.variants[variant]]
        course = joined(variant_name(variant), color, [own for own in seeds if own])
        courses += [course] if course.steps else []
    return courses


def smoothed(job: JobResult, column: str) -> dict[float, float]:
    """The running mean of a job's column, by step."""
    found = [(float(step), row[column]) for step, row in sorted(job.metrics.items()) if column in row]
    size = bucket_size(len(found))
    xs, ys = bucketed([x for x, _ in found], size), bucketed([y for _, y in found], size)
    values = running_mean(ys, window_size(len(ys)))
    return {x: y for x, y in zip(xs, values, strict=True) if math.isfinite(y)}


def joined(name: str, color: str, seeds: Sequence[dict[float, float]]) -> Course:
    """At every step that any seed has: a seed that is behind, or drew no prompt of the task, is left out there."""
    steps = sorted({step for own in seeds for step in own})
    at = [[own[step] for own in seeds if step in own] for step in steps]
    return Course(
        name=name, color=color, steps=steps, middle=[mean(values) for values in at], low=[min(values) for values in at],
        high=[max(values) for values in at],
    )  # fmt: skip


def task_plot(task: str, courses: Sequence[Course]) -> str:
    """All variants of one task."""
    keys, key_height = legend([Key(course.name, course.color) for course in courses], y=32, width=WIDTH)
    steps = [step for course in courses for step in course.steps]
    low, high = min(steps), max(steps)
    frame = Frame.inside(
        width=WIDTH, height=HEIGHT + int(key_height) - 18, top=32 + key_height + 14,
        x_range=(low, high) if high > low else (low - 0.5, high + 0.5),
        y_range=rounded_range([y for course in courses for y in (*course.low, *course.high)], keep_zero=False),
    )  # fmt: skip
    bands = "".join(_band(frame, course) for course in courses)
    lines = "".join(_line(frame, course) for course in courses)
    body = keys + axes(frame, x_label="step", y_label="accuracy, share") + bands + lines
    return drawing(width=WIDTH, height=HEIGHT + int(key_height) - 18, title=task, body=body)


def _band(frame: Frame, course: Course) -> str:
    upper = [f"{frame.x.px(x):.1f} {frame.y.px(y):.1f}" for x, y in zip(course.steps, course.high, strict=True)]
    lower = [f"{frame.x.px(x):.1f} {frame.y.px(y):.1f}" for x, y in zip(course.steps, course.low, strict=True)]
    return f'<path class="band" d="M{"L".join([*upper, *reversed(lower)])}Z" fill="{course.color}" fill-opacity="0.13"/>'


def _line(frame: Frame, course: Course) -> str:
    points = [f"{frame.x.px(x):.1f} {frame.y.px(y):.1f}" for x, y in zip(course.steps, course.middle, strict=True)]
    tip = f"{course.name}: first {course.middle[0]:.3f}, last {course.middle[-1]:.3f}"
    dots = "".join(f"M{point}h0" for point in points) if len(points) == 1 else ""
    return (
        f'<g class="curve"><title>{escape(tip)}</title><path d="M{"L".join(points)}{dots}" stroke="{course.color}" stroke-width="2" '
        'stroke-linejoin="round" stroke-linecap="round" fill="none"/></g>'
    )
