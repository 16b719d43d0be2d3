"""Which rows of a source are trained on, and which are held out."""

from array import array
from collections.abc import Collection, Sequence
from random import Random
from typing import Any

from g2rpo.data.rows import BadRecord

LONGEST_ID = 1000
"""Ids stand in every line about their prompt."""


def check_counts(heldout: int, check_golds: int) -> None:
    """Raise `ValueError` for a negative number of held-out prompts or of checked records."""
    if heldout < 0:
        raise ValueError(f"data.heldout: expected 0 or more prompts of each task, got {heldout}")
    if check_golds < 0:
        raise ValueError(
            f"data.check_golds: expected 0 (check none) or a number of records, got {check_golds}"
        )


def others(rows: Sequence[int], indices: Collection[int]) -> Sequence[int]:
    """Return the rows without those at the given positions.

    >>> list(others([4, 7, 9], {1}))
    [4, 9]
    """
    return array("q", (row for position, row in enumerate(rows) if position not in indices))


def check_new(key: Any, seen: set[int]) -> None:
    """Raise `BadRecord` if an id is no name, or occurs a second time.

    7 and "7" count as the same id, because both make the prompt `rows/7`.

    Args:
        key: The id of the row; None is never a repetition.
        seen: Hashes of earlier ids (8 bytes each, less than the ids); the new one is added.
    """
    if key is None:
        return
    if isinstance(key, bool) or not isinstance(key, str | int | float):
        raise BadRecord(f"id: expected text or a number, got {str(key)[:100]}")
    if len(str(key)) > LONGEST_ID:
        raise BadRecord(
            f"id: expected at most {LONGEST_ID} characters, got {len(str(key))}: {str(key)[:60]}..."
        )
    digest = hash(str(key))
    if digest in seen:
        raise BadRecord(f"id: {key!r} occurs a second time")
    seen.add(digest)


def split_rows(rows: int, heldout: int, seed: str) -> dict[str, Sequence[int]]:
    """Return the row numbers of each split, in the order of the file.

    Args:
        rows: Number of usable rows of a task.
        heldout: Maximum number of held-out rows; at most a tenth of the rows is held out.
        seed: Determines which rows are held out.
    """
    chosen = set(Random(seed).sample(range(rows), min(heldout, rows // 10)))  # noqa: S311
    return {
        "heldout": array("q", sorted(chosen)),
        "train": array("q", (row for row in range(rows) if row not in chosen)),
    }
