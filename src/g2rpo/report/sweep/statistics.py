"""Statistics of a few seeds: mean, spread, and paired differences with an interval."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

T_975 = tuple(
    float(point)
    for point in [
        "12.706",
        "4.303",
        "3.182",
        "2.776",
        "2.571",
        "2.447",
        "2.365",
        "2.306",
        "2.262",
        "2.228",
        "2.201",
        "2.179",
        "2.160",
        "2.145",
        "2.131",
        "2.120",
        "2.110",
        "2.101",
        "2.093",
        "2.086",
        "2.080",
        "2.074",
        "2.069",
        "2.064",
        "2.060",
        "2.056",
        "2.052",
        "2.048",
        "2.045",
        "2.042",
    ]
)
"""97.5% points of Student's t for 1 to 30 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (n - 1) of `n` seeds; NaN if there are too few."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of `n` differences of equal seeds, and half the width of its 95% t interval.

    The half width is NaN for fewer than two.
    """

    mean: float
    half: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation of the finite values.

    >>> spread([1.0, 2.0, 6.0])
    Spread(mean=3.0, std=2.6457513110645907, n=3)
    """
    finite = [value for value in values if math.isfinite(value)]
    mean = statistics.fmean(finite) if finite else math.nan
    std = statistics.stdev(finite) if len(finite) > 1 else math.nan
    return Spread(mean, std, len(finite))


def difference(own: Mapping[str, float], other: Mapping[str, float]) -> Difference:
    """Return `own` minus `other` over the seeds that both have."""
    pairs = [own[seed] - other[seed] for seed in own if seed in other]
    of_pairs = spread(pairs)
    n = of_pairs.n
    half = student(n - 1) * of_pairs.std / math.sqrt(n) if n > 1 else math.nan
    return Difference(of_pairs.mean, half, n)


def student(freedom: int) -> float:
    """Return the 97.5% point of Student's t.

    Beyond 30 degrees of freedom it comes from an expansion around the normal quantile.
    """
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
