"""A matrix of cosines as coloured squares: blue pulls the same way, red against each other, white across."""

from collections.abc import Mapping, Sequence

from g2rpo.report.palette import AFTER, BEFORE, INK, MUTED
from g2rpo.report.svg import drawing, label

CELL_PX = 44
LEFT_PX = 104
TOP_PX = 40


def cosine_matrix(*, title: str, names: Sequence[str], values: Mapping[tuple[str, str], float], width: int = 584) -> str:
    """The lower triangle, one square for each pair that has a value, the number written in it; the diagonal names the columns.

    Args:
        names: Of rows and columns.
        values: By (row, column) in either order; a missing pair stays empty.
    """
    body = []
    for i, row in enumerate(names):
        y = TOP_PX + CELL_PX * i
        if i:
            body.append(label(LEFT_PX - 8, y + CELL_PX / 2 + 4, row, anchor="end"))
        body += [_cell(i, j, values[pair]) for j, pair in enumerate(_pairs(row, names[:i], values)) if pair is not None]
        body.append(label(LEFT_PX + CELL_PX * i + 6, y + CELL_PX / 2 + 4, row, kind="unit"))
    return drawing(width=width, height=TOP_PX + CELL_PX * len(names) + 8, title=title, body="".join(body))


def _pairs(row: str, columns: Sequence[str], values: Mapping[tuple[str, str], float]) -> list[tuple[str, str] | None]:
    return [next((pair for pair in ((row, column), (column, row)) if pair in values), None) for column in columns]


def _cell(i: int, j: int, cosine: float) -> str:
    x, y = LEFT_PX + CELL_PX * j, TOP_PX + CELL_PX * i
    strength = min(1.0, abs(cosine))
    square = f'<rect x="{x}" y="{y}" width="{CELL_PX - 2}" height="{CELL_PX - 2}" fill="{AFTER if cosine > 0 else BEFORE}"'
    colour = "#fff" if strength > 0.6 else INK
    text = f'<text x="{x + CELL_PX / 2 - 1}" y="{y + CELL_PX / 2 + 3}" text-anchor="middle" style="fill:{colour}">{cosine:.2f}</text>'
    return f'{square} fill-opacity="{0.06 + 0.94 * strength:.2f}" stroke="{MUTED}" stroke-opacity="0.25"/>{text}'
