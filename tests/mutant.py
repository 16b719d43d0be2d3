"""What a mutant is: one bug, and the tests that must see it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `src/g2rpo/<file>`; `tests` are files (or `file::test`) under `tests/`, separated by blanks."""

    name: str
    file: str
    old: str
    new: str
    tests: str
