"""The table of a sweep: mean and spread over seeds, and the gain of each variant over the
reference, seed by seed.
"""

import math

from g2rpo.report.plots import Figure, gains
from g2rpo.report.render import Cell, change_cell, score_text, task_cell
from g2rpo.report.sweep.statistics import Difference, difference, spread
from g2rpo.report.sweep.sweep_data import BENCHMARK, JobResult, SweepResult
from g2rpo.sweep.job import rounded, short_keys

Variant = tuple[tuple[str, str], ...]


def variant_name(variant: Variant) -> str:
    """Return the value of the only dimension, or all keys and values.

    >>> variant_name((("row", "full"),)), variant_name(())
    ('full', 'all jobs')
    >>> variant_name((("advantage", "grpo"), ("shaping", "none")))
    'advantage=grpo, shaping=none'
    """
    if len(variant) == 1 and "." not in variant[0][0]:
        return variant[0][1]
    short = short_keys(key for key, _ in variant)
    return ", ".join(f"{short[key]}={rounded(value)}" for key, value in variant) or "all jobs"


def by_seed(jobs: list[JobResult], column: str) -> dict[str, float]:
    """Return the score of each finished job of a variant, by seed."""
    return {job.seed: job.scores[column] for job in jobs if column in job.scores}


def reference(sweep: SweepResult) -> Variant:
    """Return the variant that the others are compared with: `--against`, or the first one."""
    names = {variant_name(variant): variant for variant in sweep.variants}
    if sweep.against is None:
        return next(iter(sweep.variants))
    if sweep.against not in names:
        raise ValueError(
            f"--against: no variant {sweep.against!r} in {sweep.folder}; expected one of:"
            f" {', '.join(names)}"
        )
    return names[sweep.against]


def gain(sweep: SweepResult, variant: Variant, column: str = "macro") -> Difference:
    """Return the gain of a variant over the reference, over seeds that both have finished."""
    return difference(
        by_seed(sweep.variants[variant], column), by_seed(sweep.variants[reference(sweep)], column)
    )


def best_variant(sweep: SweepResult) -> Variant | None:
    """Return the variant with the highest mean score.

    Only variants with the largest number of finished seeds count, so that one lucky seed does not
    win.
    """
    scored = {
        variant: spread(list(by_seed(jobs, "macro").values()))
        for variant, jobs in sweep.variants.items()
    }
    most = max((own.n for own in scored.values()), default=0)
    full = {variant: own.mean for variant, own in scored.items() if own.n == most > 0}
    return max(full, key=lambda variant: full[variant]) if full else None


def score_table(sweep: SweepResult) -> tuple[list[Cell], list[list[Cell]]]:
    """Return header and rows of the held-out scores; no rows before a job has finished."""
    columns = [name for name in sweep.columns if name in sweep.tasks]
    head: list[Cell] = [
        "variant",
        "seeds",
        "mean of the tasks",
        "gain",
        "95% interval",
        *map(task_cell, columns),
    ]
    known = sweep.finished and "macro" in sweep.columns
    return head, [_row(sweep, variant, columns) for variant in sweep.variants] if known else []


def benchmark_table(sweep: SweepResult) -> tuple[list[Cell], list[list[Cell]]]:
    """Return header and rows of the benchmark scores; no rows if no job has any."""
    names = [name for name in sweep.columns if name.startswith(BENCHMARK)]
    rows: list[list[Cell]] = [
        [variant_name(variant), *(_cell(list(by_seed(jobs, name).values())) for name in names)]
        for variant, jobs in sweep.variants.items()
    ]
    return ["variant", *(name.removeprefix(BENCHMARK) for name in names)], rows if names else []


def _row(sweep: SweepResult, variant: Variant, columns: list[str]) -> list[Cell]:
    jobs, won = sweep.variants[variant], gain(sweep, variant)
    own = variant == reference(sweep)
    done = len([job for job in jobs if job.state == "finished"])
    return [
        variant_name(variant),
        f"{done}" if done == len(jobs) else f"{done} of {len(jobs)}",
        _cell(list(by_seed(jobs, "macro").values())),
        "reference" if own else change_cell(won.mean),
        "" if own else interval_text(won),
        *(_cell(list(by_seed(jobs, task).values())) for task in columns),
    ]


def interval_text(won: Difference) -> str:
    """Return both ends, or a dash below two seeds."""
    return (
        f"{won.mean - won.half:+.3f} to {won.mean + won.half:+.3f}"
        if math.isfinite(won.half)
        else "-"
    )


def _cell(values: list[float]) -> str:
    own = spread(values)
    return score_text(own.mean) + (f" ± {own.std:.3f}" if math.isfinite(own.std) else "")


def seed_gains(sweep: SweepResult) -> dict[str, tuple[float, float, list[float]]]:
    """Return the gain of each variant over the reference by its name: mean, half of the interval,
    and the gain of every seed.
    """
    base = by_seed(sweep.variants[reference(sweep)], "macro")
    found = {}
    for variant, jobs in sweep.variants.items():
        won = gain(sweep, variant)
        if variant != reference(sweep) and won.n:
            seeds = [
                score - base[seed] for seed, score in by_seed(jobs, "macro").items() if seed in base
            ]
            found[variant_name(variant)] = (won.mean, won.half, seeds)
    return found


def gain_figures(sweep: SweepResult) -> list[Figure]:
    """Return the figure of gains with intervals; empty before a variant shares a seed with the
    reference.
    """
    found = seed_gains(sweep) if sweep.finished else {}
    return (
        [gains(f"Gain over {variant_name(reference(sweep))}, mean of the tasks", found)]
        if found
        else []
    )
