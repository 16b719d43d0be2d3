"""Names of tasks: a task is any string that the data says.

Records carry the name of their task. A run has a list of its tasks, in the order of `in_order`;
index tensors hold positions in this list, which is the same on every rank.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")

DEFAULT = "default"
"""Key of the value for all tasks that a mapping by task does not name."""
MACRO = "macro"
"""Name of the mean over tasks, beside the scores of tasks."""
SIMILAR = 0.65
"""Names at least this similar (`difflib`) may be one: two of three letters."""
FEW = 0.1
"""A task with at most this share of a similar one's prompts may be a misspelling of it."""
SHOWN = 3
"""Prompts that a message names."""


def checked_task(name: object, key: str = "") -> str:
    """Return the name of a task without surrounding spaces.

    Args:
        name: What somebody wrote.
        key: Where it was written, for the message.

    Raises:
        ValueError: if it is empty, holds control characters, or stands for something else.

    >>> checked_task(" gui ")
    'gui'
    """
    task, where = str(name).strip(), f"{key}: " if key else ""
    if not task or not task.isprintable():
        raise ValueError(
            f"{where}expected the name of a task in printable characters, got {name!r}"
        )
    if task in (DEFAULT, MACRO):
        meaning = "all other tasks" if task == DEFAULT else "the mean over tasks"
        raise ValueError(
            f"{where}expected the name of a task, got {task!r}, which stands for {meaning}; rename"
            " it"
        )
    return task


def in_order(found: Iterable[str], named: Iterable[str] = ()) -> tuple[str, ...]:
    """Return tasks in the order of a run: as they are named, then alphabetically.

    Args:
        found: The tasks, in any order.
        named: Tasks whose order is known; those that were not found are left out.

    >>> in_order(["medical", "gui", "math"], ["math", "chart"])
    ('math', 'gui', 'medical')
    """
    others = set(found)
    first = [task for task in dict.fromkeys(named) if task in others]
    return (*first, *sorted(others.difference(first)))


def of_task(values: Mapping[str, Value], task: str, missing: Value) -> Value:
    """Return the value of a task, or the one for all tasks that are not named.

    >>> of_task({"math": 16, "default": 8}, "gui", 4), of_task({"math": 16}, "gui", 4)
    (8, 4)
    """
    return values[task] if task in values else values.get(DEFAULT, missing)


def similar_task(name: str, others: Iterable[str]) -> str | None:
    """Return the name that is spelled most like `name`, or None if none is.

    Capitals do not count. Names that differ in their digits alone are different names.

    >>> similar_task("giu", ["gui", "math"]), similar_task("level_1", ["level_2"])
    ('gui', None)
    """
    kept = {other.casefold(): other for other in others if _letters(other) != _letters(name)}
    kept |= {other.casefold(): other for other in others if other.casefold() == name.casefold()}
    close = get_close_matches(name.casefold(), kept, n=1, cutoff=SIMILAR)
    return kept[close[0]] if close else None


def misspelled_tasks(sizes: Mapping[str, int | None]) -> dict[str, str]:
    """Return the tasks that look like misspellings, each with the larger task it is spelled like.

    Args:
        sizes: Number of prompts by task; None if unlimited.

    >>> misspelled_tasks({"gui": 120, "giu": 1, "math": 90})
    {'giu': 'gui'}
    """
    found = {}
    for task, size in sizes.items():
        if size:
            larger = [
                other
                for other, count in sizes.items()
                if other != task and count and size <= max(1, FEW * count) and size < count
            ]
            near = similar_task(task, larger)
            if near is not None:
                found[task] = near
    return found


def _letters(name: str) -> str:
    return "".join(char for char in name if not char.isdigit())


def listed(prompts: Sequence[str]) -> str:
    """Return a few prompts in words, each once; every one has its task before its id.

    >>> listed(["math 'a'"]), listed(["math 'c'", "chart 'b'", "math 'a'", "math 'd'", "math 'a'"])
    ("prompts math 'a'", "prompts chart 'b', math 'a', math 'c' and 1 more")
    """
    names = sorted(set(prompts))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"prompts {', '.join(names[:SHOWN])}{more}"
