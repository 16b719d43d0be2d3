"""Equal mathematics, by math-verify (LaTeX and plain expressions through sympy).

math-verify's own time-out rings an alarm that only a main thread can hear, so it is switched off
here: whoever calls this with answers of a model bounds the time from outside, by a process it can
end. What could exhaust the memory before that, a tower of powers such as 9^9^9^9 or a factorial of
a factorial, is not evaluated at all.
"""

import logging
import math
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

LONGEST_ANSWER = 2000
"""Characters read of an answer, from its end, where a result stands."""
LONGEST_NUMBER = 1000
"""Decimal digits. An expression that could evaluate to more is not read."""
_MARKS = ("$", r"\(", r"\[", r"\boxed")


def same_mathematics(answer: str, gold: str, *, bare_latex: bool = False) -> bool:
    r"""Return whether two expressions are equal: `1/2`, `0.5` and `$\frac{1}{2}$` are.

    math-verify reads numbers and simple expressions anywhere, LaTeX only inside `$...$`, `\(...\)`,
    `\[...\]` or `\boxed{...}`. With `bare_latex`, a text without those marks is read as LaTeX if
    nothing else is found in it.

    >>> same_mathematics("0.5", r"$\frac{1}{2}$"), same_mathematics(r"\pi", r"\pi")
    (True, False)
    >>> same_mathematics(r"\pi", r"\pi", bare_latex=True)
    True
    """
    got = _read(answer[-LONGEST_ANSWER:], bare_latex)
    return bool(got) and _library().verify(
        list(_read(gold, bare_latex)), list(got), timeout_seconds=0
    )


@lru_cache(maxsize=4096)
def _read(text: str, bare_latex: bool) -> tuple[Any, ...]:
    """Return what math-verify reads in the text; empty if that is nothing.

    Cached, because a group shares its gold answer and often its answers.
    """
    parse = _library().parse
    found = parse(text, parsing_timeout=0)
    if not found and bare_latex and text and not any(mark in text for mark in _MARKS):
        found = parse(f"${text}$", parsing_timeout=0)
    return tuple(found) if _is_bounded(found) else ()


def _is_bounded(found: list[Any]) -> bool:
    try:
        return all(_digits(item) <= LONGEST_NUMBER for item in found)
    except RecursionError:  # hundreds of nested brackets
        return False


def _digits(node: Any) -> float:
    """Return about how many decimal digits an expression has once evaluated.

    A symbol counts as small.
    """
    if getattr(node, "is_Number", False):
        return _digits_of_number(node)
    parts = [_digits(part) for part in getattr(node, "args", ())]
    if getattr(node, "is_Pow", False):
        return max(parts[0], 0.3) * 10 ** min(parts[1], 300)
    if getattr(node, "is_Mul", False):
        return sum(parts)
    name, largest = type(node).__name__, max(parts, default=0.0)
    if name in ("factorial", "factorial2", "subfactorial", "binomial"):
        return largest * 10 ** min(largest, 300)
    if name in ("Sum", "Product") and largest > 4:  # more than 10,000 terms, added one by one
        return math.inf
    return largest


def _digits_of_number(number: Any) -> float:
    if number.is_Rational:
        return max(math.log10(max(abs(part), 1)) for part in (number.p, number.q))
    return abs(math.log10(abs(float(number)) or 1e-300)) if number.is_finite else 0.0


def load() -> None:
    """Import math-verify and sympy now, which takes a second, instead of at the first answer."""
    _library()


@cache
def _library() -> ModuleType:
    """Return math_verify, imported at first use, so that other rewards do not load sympy."""
    import math_verify

    logging.getLogger("math_verify").setLevel(
        logging.ERROR
    )  # it warns that its time-out is off, which is meant
    return math_verify
