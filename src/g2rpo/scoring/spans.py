"""Intervals `[start, end]` and moments of time, in seconds, read from JSON."""

import math

from g2rpo.scoring.extract import finite_numbers


def span_iou(first: object, second: object) -> float:
    """Return the intersection over union of two intervals; 0 if one is not start < end.

    >>> span_iou([3, 8], [2, 8]), span_iou([8, 3], [2, 8]), span_iou([3], [2, 8])
    (0.8333333333333334, 0.0, 0.0)
    """
    a, b = finite_numbers(first, 2), finite_numbers(second, 2)
    if a is None or b is None:
        return 0.0
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    hull = max(a[1], b[1]) - min(a[0], b[0])  # equals the union wherever anything is shared
    return shared / hull if hull > 1e-12 else 0.0


def read_moment(value: object) -> float | None:
    """Return a finite number of seconds; None for anything else, strings included.

    >>> read_moment(2), read_moment("2"), read_moment(float("nan"))
    (2.0, None, None)
    """
    try:
        moment = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer beyond the range of a float
        return None
    return moment if math.isfinite(moment) else None


def moment_similarity(moment: float, gold: float, decay_s: float = 2.0) -> float:
    """Return exp(-|moment - gold| / decay_s), all in seconds.

    >>> round(moment_similarity(5.0, 3.0), 6)
    0.367879
    """
    return math.exp(-abs(moment - gold) / decay_s)
