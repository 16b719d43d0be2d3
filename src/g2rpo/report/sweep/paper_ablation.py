"""Compares the sweep with the paper's ablation, by gains, because model and data differ."""

import json
import math
from importlib.resources import files
from typing import Any

from g2rpo.report.render import Cell, task_cell
from g2rpo.report.sweep.statistics import Difference, spread
from g2rpo.report.sweep.sweep_data import SweepResult
from g2rpo.report.sweep.variant_scores import Variant, by_seed, gain, reference, variant_name
from g2rpo.tasks import MACRO

KEYS = ("row", "advantage")
"""Dimensions whose values are names of rows in the paper."""


def paper_numbers() -> dict[str, Any]:
    """Return `source`, `note`, and `rows` with percent by row and task."""
    numbers: dict[str, Any] = json.loads(
        (files("g2rpo") / "report" / "sweep" / "paper_table4.json").read_text(encoding="utf-8")
    )
    return numbers


def paper_tasks() -> list[str]:
    """Return the tasks of the paper."""
    return [name for name in next(iter(paper_numbers()["rows"].values())) if name != MACRO]


def paper_row(variant: Variant) -> str | None:
    """Return the paper's name of a variant; None if it has no such row.

    >>> paper_row((("row", "full_8b"),)), paper_row((("advantage", "ema_grpo"),))
    ('full', None)
    """
    if len(variant) != 1 or variant[0][0] not in KEYS:
        return None
    name = variant[0][1].removesuffix("_8b")
    return name if name in paper_numbers()["rows"] else None


def paper_table(sweep: SweepResult) -> tuple[list[Cell], list[list[Cell]]]:
    """Return header and rows; no rows if the paper lacks the reference or has no other variant."""
    known = {
        variant: name for variant in sweep.variants if (name := paper_row(variant)) is not None
    }
    head: list[Cell] = [
        "variant",
        "ours",
        "gain, points",
        "95% interval",
        "paper",
        "gain, points",
        *map(task_cell, paper_tasks()),
    ]
    if len(known) < 2 or reference(sweep) not in known:
        return head, []
    numbers = paper_numbers()
    start = numbers["rows"][known[reference(sweep)]]
    return head, [
        _row(sweep, variant, numbers["rows"][name], start) for variant, name in known.items()
    ]


def _row(
    sweep: SweepResult, variant: Variant, paper: dict[str, float], start: dict[str, float]
) -> list[Cell]:
    own = spread(list(by_seed(sweep.variants[variant], "macro").values()))
    first, won = variant == reference(sweep), gain(sweep, variant)
    tasks = [
        f"{_points(gain(sweep, variant, task).mean)} / {paper[task] - start[task]:+.1f}"
        for task in paper_tasks()
    ]
    return [
        variant_name(variant),
        f"{100 * own.mean:.1f}" if math.isfinite(own.mean) else "-",
        "reference" if first else _points(won.mean),
        "" if first else _ends(won),
        f"{paper['macro']:.1f}",
        "reference" if first else f"{paper['macro'] - start['macro']:+.1f}",
        *([""] * len(tasks) if first else tasks),
    ]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}" if math.isfinite(share) else "-"


def _ends(won: Difference) -> str:
    return (
        f"{_points(won.mean - won.half)} to {_points(won.mean + won.half)}"
        if math.isfinite(won.half)
        else "-"
    )
