"""Mutants of `src/g2rpo/benchmark/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "judge: one pass suffices",
        "benchmark/mmbench.py",
        "judge=judge) == 1)",
        "judge=judge) > 0)",
        "benchmark/test_mmbench.py",
    ),
    Mutant(
        "judge: a right 0 counts",
        "benchmark/mathvista_rules.py",
        "(final or bool(value))",
        "True",
        "benchmark/test_mathvista.py",
    ),
)
