"""Notes on how a score may be compared with the paper's; the paper's numbers are in each
benchmark's module.
"""

from g2rpo.benchmark.published import COLUMNS

__all__ = ["COLUMNS", "DEMO", "NOT_COMPARABLE"]

DEMO = "demo"
"""The row source whose scores say that everything runs, and nothing about a model."""
NOT_COMPARABLE = (
    "These are demo rows, which ship with the package: their scores show that everything runs and"
    " are not comparable with the paper's."
)
