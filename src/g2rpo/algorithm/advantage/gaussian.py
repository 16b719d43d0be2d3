"""The Gaussian rank map: values of a segment become the N(0, 1) quantiles of their ranks, ties
share the mean.

Ties are found on the sorted values of a segment: a new level starts where the gap to the *previous*
value exceeds `atol`. So 0, 0.9e-6 and 1.8e-6 are one level at atol=1e-6, although its ends are
further apart than that. Chaining does not depend on where one starts, keeps the order of values,
and treats x and -x alike; float noise is far smaller than `atol` and real rewards far coarser, so
that in practice a chain never has a second link.
"""

import math

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

ROUNDING = 1.125
"""Slack on `atol`, so that two rewards written exactly `atol` apart tie whatever the rounding of
float32 makes of them near 1.
"""

EXACT_ZERO = 1e-12
"""Means of opposite quantiles cancel only to about 1e-17; anything below this is the zero it stands
for.
"""


class TieLevels:
    """Values sorted inside their segments and cut into levels of tied values.

    `order[b]` sorts rows by segment, then value. In that order, `level[b]` and `segment[b]` number
    levels and segments from 0; `level_sizes` and `segment_sizes` count their rows.
    """

    def __init__(self, x: Float[Tensor, " b"], segments: Int[Tensor, " b"], *, atol: float) -> None:
        self.order, new_segment, new_level = sorted_in_segments(x.double(), segments, atol=atol)
        self.segment, self.segment_sizes = numbered(new_segment, len(x))
        self.level, self.level_sizes = numbered(new_level, len(x))

    def quantiles(self) -> Float[Tensor, " b"]:
        """Mean N(0, 1) quantile of each row's level within its segment, float64, in the order of
        the input.
        """
        sizes = self.segment_sizes.double()
        # Phi^-1((i - 0.5) / n) = sqrt(2) erfinv((2 i - 1 - n) / n), where i - 1 is the distance to
        # the segment's first row
        shift = 2 * (sizes.cumsum(0) - sizes) + sizes - 1
        twice = 2 * torch.arange(len(self.order), device=self.order.device, dtype=torch.float64)
        scaled = (twice - shift.index_select(0, self.segment)) / sizes.index_select(0, self.segment)
        sums = torch.zeros_like(self.level_sizes, dtype=torch.float64).index_add_(
            0, self.level, torch.erfinv(scaled)
        )
        means = math.sqrt(2) * sums / self.level_sizes
        return self.unsorted(means.where(means.abs() > EXACT_ZERO, 0.0).index_select(0, self.level))

    def ties(self) -> Int[Tensor, " b"]:
        """Rows of each row's level, itself included, in the order of the input."""
        return self.unsorted(self.level_sizes.index_select(0, self.level))

    def differs(self) -> Bool[Tensor, " b"]:
        """False for the rows of a segment in which all values tie, in the order of the input."""
        return self.unsorted(
            self.level_sizes.index_select(0, self.level)
            < self.segment_sizes.index_select(0, self.segment)
        )

    def unsorted(self, values: Shaped[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """`values`, given in sorted order, in the order of the input."""
        return torch.empty_like(values).index_copy_(0, self.order, values)


def sorted_in_segments(
    x: Float[Tensor, " b"], segments: Int[Tensor, " b"], *, atol: float
) -> tuple[Int[Tensor, " b"], Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Rows by segment, then value; and for every row but the first, whether a new segment and a new
    level begin with it.

    Sorting dominates the cost of an advantage. One sort of the key segment * width + value is three
    times faster than sorting by value and then by segment, and the gaps between keys tell both
    kinds of boundaries. But float64 resolves a key only to about key * 2^-52: where that is not far
    below `atol` (exact ties asked for, astronomical rewards, huge labels) the slow way is taken.
    """
    if len(x) == 0:
        none = torch.zeros_like(segments, dtype=torch.bool)
        return segments.long(), none, none
    number, offset = segments - segments.min(), x - x.min()
    width = (
        2 * (offset.max() + atol) + 1
    )  # wide enough that no gap inside a segment reaches half of it, and every gap between two does
    if (number.max() + 1) * width * 2.0**-44 < atol:
        key, order = (number * width + offset).sort()
        gaps = key.diff()
        return order, gaps > width / 2, gaps > atol * ROUNDING
    by_value = x.argsort()
    order = by_value.index_select(0, segments.index_select(0, by_value).argsort(stable=True))
    new_segment = segments.index_select(0, order).diff() != 0
    return order, new_segment, new_segment | (x.index_select(0, order).diff() > atol * ROUNDING)


def numbered(
    begins: Bool[Tensor, " n"], rows: int
) -> tuple[Int[Tensor, " b"], Int[Tensor, " runs"]]:
    """Number of each row's run from 0, and rows of each run; `begins` is True where a row, from the
    second on, begins a run.
    """
    number = torch.zeros(rows, dtype=torch.long, device=begins.device)
    number[1:] = begins.cumsum(0)
    return number, number.bincount()


def gaussian_ranks(
    x: Float[Tensor, " b"], segments: Int[Tensor, " b"], atol: float = 1e-6
) -> Float[Tensor, " b"]:
    """Replace each value by the standard-normal quantile of its rank in its segment; tied values
    share their mean quantile.

    The i-th smallest of n values (i = 1..n) gets Phi^-1((i - 0.5) / n), the one-dimensional
    optimal-transport map onto N(0, 1); a segment of one row, or one in which all tie, gets exactly
    0 (Hu et al. 2026, arXiv 2604.08539, eq. 5 and App. B).

    Args:
        x: values of any finite float dtype; ranking is done in float64.
        segments: integer labels; equal labels are ranked together, wherever their rows stand.
        atol: values of neighboring rank no further apart than this are ties (see the head of this
            file).

    Returns:
        Quantiles in float64.

    >>> segments = torch.tensor([7, 7, 7, 7, 2])
    >>> [round(q, 3) for q in gaussian_ranks(torch.tensor([0.0, 9.0, 0.0, 1.0, 5.0]), segments).tolist()]
    [-0.734, 1.15, -0.734, 0.319, 0.0]
    """
    return TieLevels(x, segments, atol=atol).quantiles()
