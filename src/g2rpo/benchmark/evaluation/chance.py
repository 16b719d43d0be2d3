"""The score that a blind guess reaches: what a benchmark's score has to beat to mean something.

- A question with `n` options is guessed right once in `n`. In a group of passes the guess keeps to
  the text of its option, so the group is right as often as one pass.
- Other rows get one fixed answer, the best of the most frequent gold answers of their answer type.
  It is chosen with hindsight, so this is the most that a fixed answer can reach.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.interfaces import Benchmark

Row = Mapping[str, Any]
ANSWERS = 8
"""Number of gold answers that are tried as the fixed answer."""
ROWS = 200
"""Number of rows of one answer type on which they are tried."""


def chance(benchmark: Benchmark, groups: Sequence[Sequence[Row]], protocol: str) -> float | None:
    """Return the score of blind guesses in [0, 1].

    It is None if the rules of `protocol` alone score no answer, or if the benchmark does not say
    what a right completion looks like (`gold_completion`).
    """
    scores = [1 / len(rows[0]["choices"]) for rows in groups if rows[0].get("choices")]
    kind_of = getattr(benchmark, "type_of", lambda row: "")
    kinds: dict[str, list[Row]] = {}
    for rows in groups:
        if not rows[0].get("choices"):
            kinds.setdefault(kind_of(rows[0]), []).append(rows[0])
    for rows in kinds.values():
        best = _best_fixed(benchmark, rows, protocol)
        if best is None:
            return None
        scores += [best] * len(rows)
    return sum(scores) / len(scores)


def _best_fixed(benchmark: Any, rows: Sequence[Row], protocol: str) -> float | None:
    if not hasattr(benchmark, "gold_completion"):
        return None
    some = rows[:: -(-len(rows) // ROWS)]
    golds = [benchmark.gold_completion(row) for row in some]
    if not any(
        benchmark.score(gold, row, protocol=protocol) for gold, row in zip(golds, some, strict=True)
    ):
        return None
    return max(
        sum(benchmark.score(gold, row, protocol=protocol) for row in some) / len(some)
        for gold, _ in Counter(golds).most_common(ANSWERS)
    )
