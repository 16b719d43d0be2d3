"""Marks of progress; a process that sets none for a long time hangs."""

import time

START_S = 1800.0
"""Silence that is allowed until the first prompt is answered, while weights are loaded."""

_marks = 0
_last_s = time.monotonic()
_begun = False


def mark() -> None:
    """Record progress of this process.

    Called when a stage of a step or a collective operation begins, and when it ends. So a rank that
    waits for the others has set one mark more than the rank that never began the collective.
    """
    global _marks, _last_s
    _marks += 1
    _last_s = time.monotonic()


def begin() -> None:
    """Say that loading is over: from now on, marks come every few seconds or minutes."""
    global _begun
    _begun = True
    mark()


def count() -> int:
    """Return the number of marks so far."""
    return _marks


def silent_s() -> float:
    """Return the seconds since the last mark."""
    return time.monotonic() - _last_s


def hangs(limit_s: float) -> bool:
    """Return whether the last mark is longer ago than `limit_s`, or `START_S` while loading."""
    return silent_s() > (limit_s if _begun else max(limit_s, START_S))
