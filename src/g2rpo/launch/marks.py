"""Marks of progress; a process that sets none for a long time hangs.

Beside them, the tasks of the prompts that the process works on, to name them if it dies.
"""

import time
from collections.abc import Callable, Iterable

START_S = 1800.0
"""Silence that is allowed until the first prompt is answered, while weights are loaded."""

_marks = 0
_last_s = time.monotonic()
_begun = False
_tasks = ""
_listener: Callable[[str], None] | None = None


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


def work_on(tasks: Iterable[str]) -> None:
    """Say which tasks the prompts have that are sampled, judged or trained on from now on."""
    global _tasks
    names = ", ".join(sorted(set(tasks)))
    if names != _tasks:
        _tasks = names
        if _listener is not None:
            _listener(names)


def tell_tasks(listener: Callable[[str], None]) -> None:
    """Call `listener` with the names of the tasks whenever they change."""
    global _listener
    _listener = listener


def count() -> int:
    """Return the number of marks so far."""
    return _marks


def silent_s() -> float:
    """Return the seconds since the last mark."""
    return time.monotonic() - _last_s


def hangs(limit_s: float) -> bool:
    """Return whether the last mark is longer ago than `limit_s`, or `START_S` while loading."""
    return silent_s() > (limit_s if _begun else max(limit_s, START_S))
