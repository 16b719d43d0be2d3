"""The last lines of a program: scores per task, the report, and the command to run next."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2rpo.training.run_folder import command_again, started

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

KINDS = {"heldout": "sampled", "heldout_greedy": "greedy"}
"""Keys of summary.json with scores per task, and what they are called on the terminal."""
MEAN = "macro"


def say_scores(folder: Path, console: "Console | None" = None) -> None:
    """Print held-out scores per task before and after, the report, and the line that evaluates the
    trained policy.

    Args:
        folder: A run folder with `summary.json`; without one, nothing is printed.
    """
    file = folder / "summary.json"
    if not file.is_file():
        return
    summary = json.loads(file.read_text(encoding="utf-8"))
    from rich.console import Console

    console = console or Console(soft_wrap=True, highlight=False)
    table = score_table(summary)
    if table.row_count:
        console.print(table)
    final = folder / "checkpoints" / "final"
    if final.is_dir():
        script = Path(sys.argv[0]).with_name("evaluate.py")
        console.print(
            f"evaluate it: {started(script)} model=folder model.path={final.resolve()}",
            markup=False,
        )
    if (folder / "report.html").is_file():
        console.print(f"report: {(folder / 'report.html').resolve()}", markup=False)


def score_table(summary: Mapping[str, Any]) -> "Table":
    """Return one row per task and one for the mean; no rows without held-out prompts."""
    from rich import box
    from rich.table import Table

    table = Table("held-out", box=box.SIMPLE)
    scores = {
        (kind, when): (summary.get(kind) or {}).get(when) or {}
        for kind in KINDS
        for when in ("before", "after")
    }
    first = scores["heldout", "before"]
    for kind, when in scores:
        table.add_column(f"{KINDS[kind]} {when}", justify="right")
    for task in [*(name for name in first if name != MEAN), *([MEAN] if len(first) > 1 else [])]:
        words = [_number(own.get(task)) for own in scores.values()]
        table.add_row(
            "mean" if task == MEAN else task, *words, style="bold" if task == MEAN else ""
        )
    return table


def resume_line(folder: Path) -> str | None:
    """Return the command that resumes an unfinished run; None if it left no checkpoint."""
    if (folder / "summary.json").is_file() or not (folder / "checkpoints" / "last.ckpt").exists():
        return None
    return command_again(folder, resume=True)


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) and math.isfinite(value) else "-"
