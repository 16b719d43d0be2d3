"""The table of a sweep: mean and spread over seeds, and what each variant gains over the first, seed by seed."""

import math
from html import escape

from g2rpo.prompt import TASKS
from g2rpo.report.markup import change_text, score_text, section, table, task_name
from g2rpo.report.palette import GRID, INK, MUTED
from g2rpo.report.svg import Scale, drawing, label, number_text, rounded_range, ticks
from g2rpo.report.sweep.folder import JobResult, SweepResult
from g2rpo.report.sweep.statistics import Difference, difference, spread
from g2rpo.sweep.job import rounded, short_keys

Variant = tuple[tuple[str, str], ...]
NEEDED = "An interval needs two seeds that both variants have finished."


def variant_name(variant: Variant) -> str:
    """The value of the only dimension, or all of them.

    >>> variant_name((("row", "full"),)), variant_name((("advantage", "grpo"), ("shaping", "none"))), variant_name(())
    ('full', 'advantage=grpo, shaping=none', 'all jobs')
    """
    if len(variant) == 1 and "." not in variant[0][0]:
        return variant[0][1]
    short = short_keys(key for key, _ in variant)
    return ", ".join(f"{short[key]}={rounded(value)}" for key, value in variant) or "all jobs"


def by_seed(jobs: list[JobResult], column: str) -> dict[str, float]:
    """Scores of the finished jobs of a variant."""
    return {job.seed: job.scores[column] for job in jobs if column in job.scores}


def reference(sweep: SweepResult) -> Variant:
    """What the others are compared with: the first variant of the sweep, or the one that was asked for."""
    names = {variant_name(variant): variant for variant in sweep.variants}
    if sweep.against is None:
        return next(iter(sweep.variants))
    if sweep.against not in names:
        raise ValueError(f"--against: no variant {sweep.against!r} in {sweep.folder}; expected one of: {', '.join(names)}")
    return names[sweep.against]


def gain(sweep: SweepResult, variant: Variant, column: str = "macro") -> Difference:
    """What a variant has more than the reference, over seeds that both have finished."""
    return difference(by_seed(sweep.variants[variant], column), by_seed(sweep.variants[reference(sweep)], column))


def best_variant(sweep: SweepResult) -> Variant | None:
    """With the highest mean score; among those with as many seeds as any has finished, so that luck of one seed does not win."""
    scored = {variant: spread(list(by_seed(jobs, "macro").values())) for variant, jobs in sweep.variants.items()}
    most = max((own.n for own in scored.values()), default=0)
    full = {variant: own.mean for variant, own in scored.items() if own.n == most > 0}
    return max(full, key=lambda variant: full[variant]) if full else None


def score_section(sweep: SweepResult) -> str:
    """The table, and the gains drawn with their intervals."""
    if not sweep.finished or "macro" not in sweep.columns:
        body = '<p class="empty">No job has finished yet.</p>'
    else:
        body = _tables(sweep) + gain_plot(sweep)
    return section(
        anchor="scores",
        title="Held-out scores",
        caption="Accuracy in [0, 1] after training, mean of the samples at temperature 1: mean over seeds ± standard deviation (n - 1). "
        f"Gain: mean difference to {variant_name(reference(sweep)) if sweep.jobs else '-'} with the same seed, and its 95% interval by "
        "Student's t over those differences; it speaks of other seeds, not of other data. " + NEEDED,
        body=body,
    )


def _tables(sweep: SweepResult) -> str:
    columns = [name for name in sweep.columns if "/" not in name]
    head = ["variant", "seeds", "mean of the tasks", "gain", "95% interval", *(task_name(name) for name in columns if name in TASKS)]
    rows = [_row(sweep, variant, columns) for variant in sweep.variants]
    parts = f'<div class="wide">{table(head, rows)}</div>'
    benchmarks = [name for name in sweep.columns if "/" in name]
    if benchmarks:
        inner = [
            [escape(variant_name(v)), *(_cell(list(by_seed(jobs, name).values())) for name in benchmarks)]
            for v, jobs in sweep.variants.items()
        ]
        parts += '<h3>Benchmarks, score in [0, 1]</h3><div class="wide">'
        parts += table(["variant", *(escape(name.partition("/")[2]) for name in benchmarks)], inner) + "</div>"
    return parts


def _row(sweep: SweepResult, variant: Variant, columns: list[str]) -> list[str]:
    jobs, won = sweep.variants[variant], gain(sweep, variant)
    own = variant == reference(sweep)
    done = len([job for job in jobs if job.state == "finished"])
    return [
        escape(variant_name(variant)),
        f"{done}" if done == len(jobs) else f"{done} of {len(jobs)}",
        f"<b>{_cell(list(by_seed(jobs, 'macro').values()))}</b>",
        "reference" if own else change_text(won.mean),
        "" if own else interval_text(won),
        *(_cell(list(by_seed(jobs, task).values())) for task in columns if task in TASKS),
    ]


def interval_text(won: Difference) -> str:
    """Both ends, or a dash below two seeds."""
    return f"{won.mean - won.half:+.3f} to {won.mean + won.half:+.3f}" if math.isfinite(won.half) else "-"


def _cell(values: list[float]) -> str:
    own = spread(values)
    return score_text(own.mean) + (f' <span class="pm">± {own.std:.3f}</span>' if math.isfinite(own.std) else "")


def gain_plot(sweep: SweepResult, width: int = 900) -> str:
    """One row a variant: the gain of each seed as a dot, their mean, and its interval as a line."""
    others = [variant for variant in sweep.variants if variant != reference(sweep) and gain(sweep, variant).n > 0]
    if not others:
        return ""
    base = by_seed(sweep.variants[reference(sweep)], "macro")
    gains = {variant: gain(sweep, variant) for variant in others}
    seeds = {v: [score - base[seed] for seed, score in by_seed(sweep.variants[v], "macro").items() if seed in base] for v in others}
    reach = [x for v in others for x in (*seeds[v], gains[v].mean - _half(gains[v]), gains[v].mean + _half(gains[v]))]
    low, high = rounded_range(reach, keep_zero=True)
    scale, height = Scale(low, high, 300.0, width - 20.0), 84 + 26 * len(others)
    zero, bottom = scale.px(0.0), height - 40
    parts = [_keys()]
    for tick in ticks(low, high):
        parts.append(f'<path d="M{scale.px(tick):.1f} 44V{bottom}" stroke="{GRID}"/>')
        parts.append(label(scale.px(tick), bottom + 17, number_text(tick), anchor="middle", kind="tick"))
    parts.append(f'<path d="M{zero:.1f} 44V{bottom}" stroke="{MUTED}" stroke-dasharray="5 4"/>')
    for i, variant in enumerate(others):
        y, won = 60 + 26 * i, gains[variant]
        parts.append(label(290, y + 4, _short(variant_name(variant)), anchor="end"))
        if math.isfinite(won.half):
            ends = f"M{scale.px(won.mean - won.half):.1f} {y}H{scale.px(won.mean + won.half):.1f}"
            parts.append(f'<path d="{ends}" stroke="{INK}" stroke-width="2"/>')
        parts += [f'<circle cx="{scale.px(x):.1f}" cy="{y}" r="3.4" fill="#0072b2" fill-opacity="0.5"/>' for x in seeds[variant]]
        parts.append(f'<path d="M{scale.px(won.mean):.1f} {y - 8}v16" stroke="{INK}" stroke-width="3"/>')
    parts.append(label(width - 20, bottom + 33, "gain in held-out score", anchor="end", kind="unit"))
    title = f"Gain over {variant_name(reference(sweep))}, mean of the tasks"
    return '<figure class="gain">' + drawing(width=width, height=height, title=title, body="".join(parts)) + "</figure>"


def _half(won: Difference) -> float:
    return won.half if math.isfinite(won.half) else 0.0


def _short(name: str, most: int = 42) -> str:
    return name if len(name) <= most else name[: most - 3] + "..."


def _keys() -> str:
    dot = '<circle cx="8" cy="32" r="3.4" fill="#0072b2" fill-opacity="0.5"/>'
    bar = f'<path d="M88 24v16" stroke="{INK}" stroke-width="3"/><path d="M148 32h24" stroke="{INK}" stroke-width="2"/>'
    words = label(20, 36, "one seed") + label(96, 36, "mean") + label(180, 36, "95% t interval of the mean")
    return f'<g class="legend">{dot}{bar}{words}</g>'
