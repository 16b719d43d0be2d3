"""The paper's ablation beside the sweep's: numbers of another model on other data, so differences are what can be compared."""

import json
import math
from html import escape
from importlib.resources import files
from typing import Any

from g2rpo.prompt import TASKS
from g2rpo.report.markup import section, table, task_name
from g2rpo.report.sweep.folder import SweepResult
from g2rpo.report.sweep.scores import Variant, by_seed, gain, reference, variant_name
from g2rpo.report.sweep.statistics import Difference, spread

KEYS = ("row", "advantage")
"""Dimensions whose values the paper's rows are named after."""


def paper_numbers() -> dict[str, Any]:
    """`source`, `note`, and `rows`: percent by row and task."""
    numbers: dict[str, Any] = json.loads((files("g2rpo") / "report" / "sweep" / "paper_table4.json").read_text(encoding="utf-8"))
    return numbers


def paper_row(variant: Variant) -> str | None:
    """The paper's name of a variant; None where it has no such row, or the sweep varies something else as well.

    >>> paper_row((("row", "full"),)), paper_row((("row", "full_8b"),)), paper_row((("advantage", "ema_grpo"),))
    ('full', 'full', None)
    """
    if len(variant) != 1 or variant[0][0] not in KEYS:
        return None
    name = variant[0][1].removesuffix("_8b")
    return name if name in paper_numbers()["rows"] else None


def paper_section(sweep: SweepResult) -> str:
    """Ours and theirs; nothing where the paper has fewer than two of the variants, or the reference is not in it."""
    known = {variant: name for variant in sweep.variants if (name := paper_row(variant)) is not None}
    if len(known) < 2 or reference(sweep) not in known:
        return ""
    numbers = paper_numbers()
    start = numbers["rows"][known[reference(sweep)]]
    head = ["variant", "ours", "gain, points", "95% interval", "paper", "gain, points", *(task_name(task) for task in TASKS)]
    rows = [_row(sweep, variant, numbers["rows"][name], start) for variant, name in known.items()]
    return section(
        anchor="paper",
        title="Beside the paper",
        caption=f"Paper: {numbers['source']}. Its numbers are {numbers['note']}. Ours: held-out score of this sweep, in percent. "
        "The levels cannot be compared; what can be asked is whether the gains have the same order. By task: our gain / the paper's, "
        "in points.",
        body=f'<div class="wide">{table(head, rows)}</div>',
    )


def _row(sweep: SweepResult, variant: Variant, paper: dict[str, float], start: dict[str, float]) -> list[str]:
    own = spread(list(by_seed(sweep.variants[variant], "macro").values()))
    first, won = variant == reference(sweep), gain(sweep, variant)
    tasks = [f"{_points(gain(sweep, variant, task).mean)} / {paper[task] - start[task]:+.1f}" for task in TASKS]
    return [
        escape(variant_name(variant)),
        f"{100 * own.mean:.1f}" if math.isfinite(own.mean) else "-",
        "reference" if first else _points(won.mean),
        "" if first else _ends(won),
        f"{paper['macro']:.1f}",
        "reference" if first else f"{paper['macro'] - start['macro']:+.1f}",
        *([""] * len(TASKS) if first else tasks),
    ]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}" if math.isfinite(share) else "-"


def _ends(won: Difference) -> str:
    return f"{_points(won.mean - won.half)} to {_points(won.mean + won.half)}" if math.isfinite(won.half) else "-"
