"""HTML pieces: sections, tables and numbers as text. Bodies and table cells are HTML already; titles and captions are escaped here."""

import math
from collections.abc import Sequence
from html import escape

from g2rpo.report.palette import TASK_COLORS


def section(*, anchor: str, title: str, caption: str, body: str) -> str:
    """A headed part of the page; `caption` says how to read it."""
    return f'<section id="{anchor}"><h2>{escape(title)}</h2><p class="caption">{escape(caption)}</p>{body}</section>'


def grid(figures: Sequence[str], *, columns: int) -> str:
    """Figures side by side; a sentence where there are none."""
    if not figures:
        return '<p class="empty">Nothing has been logged for this part.</p>'
    return f'<div class="grid c{columns}">' + "".join(f"<figure>{figure}</figure>" for figure in figures) + "</div>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, last_is_total: bool = False) -> str:
    """Cells are HTML. With `last_is_total` the last row is set apart."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = [f"<tr{_row_class(last_is_total and row is rows[-1])}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _row_class(total: bool) -> str:
    return ' class="total"' if total else ""


def task_name(task: str) -> str:
    """A task with its colour."""
    return f'<span class="chip" style="background:{TASK_COLORS[task]}"></span>{escape(task)}'


def score_text(value: float) -> str:
    """Three decimals, or a dash for a missing number.

    >>> score_text(0.61249), score_text(float("nan"))
    ('0.612', '-')
    """
    return f"{value:.3f}" if math.isfinite(value) else "-"


def change_text(value: float) -> str:
    """With its sign.

    >>> change_text(0.1), change_text(-0.0251), change_text(float("nan"))
    ('+0.100', '-0.025', '-')
    """
    return f"{value:+.3f}" if math.isfinite(value) else "-"


def duration_text(seconds: float) -> str:
    """Seconds for short times, minutes and hours for long ones.

    >>> duration_text(8.25), duration_text(372), duration_text(7322)
    ('8.2 s', '6 min 12 s', '2 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
