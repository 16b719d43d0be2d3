"""Smooths curves by averages of neighbors. Missing values are NaN and are ignored."""

import math
from collections.abc import Sequence

MAX_POINTS = 300
"""Curves with more points are averaged in equal buckets first, so that pages stay small."""


def mean(values: Sequence[float]) -> float:
    """Return the mean of the finite values; NaN if there is none.

    >>> mean([1.0, math.nan, 4.0])
    2.5
    """
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def bucket_size(count: int) -> int:
    """Return how many neighboring steps are averaged into one point.

    >>> bucket_size(120), bucket_size(1000)
    (1, 4)
    """
    return max(1, math.ceil(count / MAX_POINTS))


def bucketed(values: Sequence[float], size: int) -> list[float]:
    """Return means over buckets of `size` neighbors; the last bucket may be smaller.

    >>> bucketed([1.0, 3.0, 5.0], 2)
    [2.0, 5.0]
    """
    return [mean(values[i : i + size]) for i in range(0, len(values), size)]


def window_size(count: int) -> int:
    """Return the window of the running mean: an odd number, about a fifteenth of the curve.

    >>> window_size(10), window_size(60), window_size(300)
    (1, 5, 21)
    """
    return 2 * (count // 30) + 1


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of the `window` points around each point, fewer at the ends.

    It is NaN if the point itself is missing.

    >>> running_mean([0.0, 3.0, 9.0], 3)
    [1.5, 4.0, 6.0]
    """
    half = window // 2
    return [
        mean(values[max(0, i - half) : i + half + 1]) if math.isfinite(value) else math.nan
        for i, value in enumerate(values)
    ]
