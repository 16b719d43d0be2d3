"""Mutants of `src/g2rpo/data/gym/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "hard gym: north and south agree",
        "data/gym/hard.py",
        "str(9 - digit if task ==",
        "str(digit if task ==",
        "data/gym/test_hard.py",
    ),
    Mutant(
        "boxes one pixel off",
        "data/gym/canvas.py",
        "round(value * 1000 / SIZE_PX)",
        "round((value + 1) * 1000 / SIZE_PX)",
        "data/gym",
    ),
)
