"""Numbers: equal to two decimals, graded by relative error, or within a tolerance."""

import math
from ctypes import c_float


def _single(value: float) -> float:
    """Return the nearest float32, infinite beyond its range."""
    return c_float(value).value


_ROOM = tuple(_single(1 - _single(0.5 + 0.05 * level)) for level in range(10))
"""Largest relative error (exclusive) at the ten levels .5, .55, ..., .95. The release computes in
float32, which decides ties: 1050 is
within .05 of 1000 there, though not in float64."""


def read_number(text: str) -> float | None:
    """Return the text as one finite number; None for anything else, such as a number with a unit.

    Commas may group the digits.

    >>> read_number(" 1,050 "), read_number("1e3"), read_number("7 cm"), read_number("nan")
    (1050.0, 1000.0, None, None)
    """
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def equal_to_two_decimals(answer: float, gold: float) -> bool:
    """Return whether both round to the same two decimals.

    >>> equal_to_two_decimals(3.004, 3.0), equal_to_two_decimals(3.006, 3.0)
    (True, False)
    """
    return round(answer, 2) == round(gold, 2)


def mean_relative_accuracy(answer: float, gold: float) -> float:
    """Return the share of confidence levels c at which |answer - gold| / |gold| < 1 - c.

    The ten levels are .5, .55, ..., .95. Yang et al. 2024, Thinking in Space, section 3 (MRA). A
    gold 0 is only met exactly.

    >>> mean_relative_accuracy(-5.0, -4.0), mean_relative_accuracy(0.0, 0.0)
    (0.5, 1.0)
    """
    wanted = _single(gold)
    error = _single(abs(_single(_single(answer) - wanted)) / _single(abs(wanted) + 1e-8))
    return sum(error < room for room in _ROOM) / len(_ROOM)


def relaxed_match(answer: str, gold: str, tolerance: float = 0.05) -> bool:
    """Return whether two answers are the same number within `tolerance`, or the same words.

    ChartQA's relaxed accuracy (Masry et al. 2022, section 5.1): the tolerance is relative, words
    are compared without case, a trailing `%` divides by 100, and a gold 0 is compared as a word.

    >>> relaxed_match("14.7", "14"), relaxed_match("14.71", "14"), relaxed_match("12%", "0.12")
    (True, False, True)
    >>> relaxed_match("Yes", "yes")
    True
    """
    answer, gold = answer.strip(), gold.strip()
    got, wanted = _read_share(answer), _read_share(gold)
    if got is not None and wanted:
        return abs(got - wanted) / abs(wanted) <= tolerance
    return answer.lower() == gold.lower()


def _read_share(text: str) -> float | None:
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
