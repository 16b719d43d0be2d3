"""Equal mathematics, by math-verify (LaTeX and plain expressions through sympy).

math-verify's own time-out rings an alarm that only a main thread can hear, so it is switched off here: whoever calls this with
answers of a model bounds the time from outside, by a process it can end.
"""

import logging
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

LONGEST_ANSWER = 2000
"""Characters read of an answer, from its end, where a result stands."""
_MARKS = ("$", r"\(", r"\[", r"\boxed")


def same_mathematics(answer: str, gold: str, *, bare_latex: bool = False) -> bool:
    r"""Whether two expressions are equal: `1/2`, `0.5` and `$\frac{1}{2}$` are.

    math-verify reads numbers and simple expressions anywhere, LaTeX only inside `$...$`, `\(...\)`, `\[...\]` or `\boxed{...}`.
    With `bare_latex` a text without those marks is read as LaTeX as a whole where it is nothing else.

    >>> same_mathematics("0.5", r"$\frac{1}{2}$"), same_mathematics(r"\pi", r"\pi"), same_mathematics(r"\pi", r"\pi", bare_latex=True)
    (True, False, True)
    """
    got = _read(answer[-LONGEST_ANSWER:], bare_latex)
    return bool(got) and _library().verify(list(_read(gold, bare_latex)), list(got), timeout_seconds=0)


@lru_cache(maxsize=4096)
def _read(text: str, bare_latex: bool) -> tuple[Any, ...]:
    """What math-verify reads in the text, empty where that is nothing. Cached: the completions of a group share a gold and often answers."""
    parse = _library().parse
    found = parse(text, parsing_timeout=0)
    if not found and bare_latex and text and not any(mark in text for mark in _MARKS):
        found = parse(f"${text}$", parsing_timeout=0)
    return tuple(found)


@cache
def _library() -> ModuleType:
    """math_verify, imported when the first answer needs it: it brings sympy, a second that other judges need not wait."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its time-out is off, which is meant
    return math_verify
