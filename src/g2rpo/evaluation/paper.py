"""The paper's scores, from `paper.csv`, to stand beside one's own."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

COLUMNS = {
    "base": "Qwen3-VL-8B",
    "onethinker": "OneThinker-8B",
    "grpo": "+ GRPO",
    "gdpo": "+ GDPO",
    "openvlthinker_v2": "OpenVLThinkerV2",
}
"""Columns of `paper.csv`, and what the paper calls them."""

DEMO = "demo"
"""The row source whose scores say that everything runs, and nothing about a model."""
NOT_COMPARABLE = (
    "These are demo rows, which ship with the package: their scores show that everything runs and are not comparable with the paper's."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRow:
    """One benchmark in the paper."""

    task: str
    title: str
    full: int
    """Points of a perfect score: 100, or 1000 for OCRBench."""
    scores: dict[str, float]
    """By column, each in [0, 1]."""


@cache
def paper_rows() -> dict[str, PaperRow]:
    """Every benchmark of the paper by its name here, in the paper's order."""
    lines = (files("g2rpo.evaluation") / "paper.csv").read_text(encoding="utf-8").split("\n")
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {
        row["benchmark"]: PaperRow(
            task=row["task"],
            title=row["title"],
            full=int(row["full"]),
            scores={name: float(row[name]) / int(row["full"]) for name in COLUMNS},
        )
        for row in rows
    }
