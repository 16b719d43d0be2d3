"""Mutants of `src/g2rpo/cli/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "ranges: open ends are closed",
        "cli/value_ranges.py",
        'value == high and interval[-1] == "]"',
        "value == high",
        "cli/test_value_ranges.py",
    ),
    Mutant(
        "types: items of lists are anything",
        "cli/value_types.py",
        "return all(accepts(inner, item) for item in value)",
        "return True",
        "cli/test_value_ranges.py",
    ),
)
