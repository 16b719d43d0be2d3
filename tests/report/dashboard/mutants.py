"""Mutants of `src/g2rpo/report/dashboard/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "dashboard: metric twice",
        "report/dashboard/view.py",
        "and metric.name not in bounds",
        "",
        "report/dashboard/test_view.py",
    ),
)
