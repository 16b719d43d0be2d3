"""What a mutant is: one bug, and the tests that must see it."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `src/g2rpo/<file>`; at least one of `tests` must fail then.

    `tests` are files (or `file::test`) under `tests/`, separated by blanks. White space and
    trailing commas in `old` do not count, so that a formatter does not make a mutant stale.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str

    def planted(self, text: str) -> str:
        """Return the text of the file with the bug in it.

        Raises:
            ValueError: `old` does not occur exactly once. The code has moved on: adapt the mutant.
        """
        found = list(_pattern(self.old).finditer(text))
        if len(found) != 1:
            raise ValueError(
                f"{self.old!r} occurs {len(found)} times in {self.file}, expected once"
            )
        return text[: found[0].start()] + self.new + text[found[0].end() :]


def all_mutants() -> list[Mutant]:
    """Return the mutants of every `mutants*.py` under `tests/`, sorted by folder."""
    return [mutant for path in sorted(TESTS.rglob("mutants*.py")) for mutant in mutants_of(path)]


def mutants_of(path: Path) -> tuple[Mutant, ...]:
    """Return the mutants of one file."""
    spec = importlib.util.spec_from_file_location(f"mutants_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mutants: tuple[Mutant, ...] = module.MUTANTS
    return mutants


def _pattern(old: str) -> re.Pattern[str]:
    pieces = [
        (r"(?:,\s*)?" if token in ")]}" else "") + re.escape(token) for token in _TOKEN.findall(old)
    ]
    head = r"(?<!\w)" if re.match(r"\w", old) else ""
    tail = r"(?!\w)" if re.search(r"\w$", old) else ""
    return re.compile(head + r"\s*".join(pieces) + tail)
