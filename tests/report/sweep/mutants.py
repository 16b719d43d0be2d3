"""Mutants of `src/g2rpo/report/sweep/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "sweep: seeds in any order are pairs",
        "report/sweep/statistics.py",
        "[own[seed] - other[seed] for seed in own if seed in other]",
        "[a - b for a, b in zip(own.values(), other.values())]",
        "report/sweep/test_statistics.py",
    ),
    Mutant(
        "sweep: a spread of n",
        "report/sweep/statistics.py",
        "statistics.stdev(finite)",
        "statistics.pstdev(finite)",
        "report/sweep/test_statistics.py",
    ),
    Mutant(
        "sweep: one degree of freedom too many",
        "report/sweep/statistics.py",
        "student(n - 1)",
        "student(n)",
        "report/sweep/test_statistics.py",
    ),
    Mutant(
        "sweep: an interval of single values",
        "report/sweep/statistics.py",
        "/ math.sqrt(n)",
        "",
        "report/sweep/test_statistics.py",
    ),
    Mutant(
        "sweep: nan is a value",
        "report/sweep/statistics.py",
        "if math.isfinite(value)]",
        "]",
        "report/sweep/test_statistics.py",
    ),
    Mutant(
        "sweep: normal beyond the table",
        "report/sweep/statistics.py",
        "return z + (z**3 + z) / (4 * freedom)",
        "return z + 0 * (z**3 + z) / (4 * freedom)",
        "report/sweep/test_statistics.py",
    ),
)
