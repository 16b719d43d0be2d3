"""The Gaussian rank map: values of a segment become the N(0, 1) quantiles of their ranks, ties share the mean.

Ties are found on the sorted values of a segment: a new level starts where the gap to the *previous* value exceeds `atol`. So
0, 0.9e-6 and 1.8e-6 are one level at atol=1e-6, although its ends are further apart than that. Chaining does not depend on where
one starts, keeps the order of values, and treats x and -x alike; float noise is far smaller than `atol` and real rewards far
coarser, so that in practice a chain never has a second link.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

ROUNDING = 1.125
"""Slack on `atol`, so that two rewards written exactly `atol` apart tie whatever the rounding of float32 makes of them near 1."""

EXACT_ZERO = 1e-12
"""Means of opposite quantiles cancel only to about 1e-17; anything below this is the zero it stands for."""


class TieLevels:
    """Values sorted inside their segments and cut into levels of tied values.

    `order[b]` sorts rows by segment, then value. In that order, `level[b]` numbers the levels of all segments from 0, `level_size[b]` is
    the number of rows on each row's level, and `start[b]`, `size[b]` are the first position and the number of rows of its segment.
    """

    def __init__(self, x: Float[Tensor, " b"], segments: Int[Tensor, " b"], *, atol: float) -> None:
        x = x.double()
        self.order = sorted_in_segments(x, segments, finer_than=atol)
        values, labels = x.index_select(0, self.order), segments.index_select(0, self.order)
        new_segment = torch.ones_like(labels, dtype=torch.bool)
        torch.ne(labels[1:], labels[:-1], out=new_segment[1:])
        new_level = new_segment.clone()
        new_level[1:] |= values.diff() > atol * ROUNDING
        self.level, _, self.level_size = runs(new_level)
        _, self.start, self.size = runs(new_segment)

    def quantiles(self) -> Float[Tensor, " b"]:
        """Mean N(0, 1) quantile of each row's level among its segment, float64, in the order of the input."""
        rank = torch.arange(len(self.order), device=self.order.device, dtype=torch.float64) - self.start
        single = torch.special.ndtri((rank + 0.5) / self.size)
        sums = torch.zeros_like(single).index_add_(0, self.level, single)
        means = sums.index_select(0, self.level) / self.level_size
        return self.unsorted(means.where(means.abs() > EXACT_ZERO, 0.0))

    def ties(self) -> Int[Tensor, " b"]:
        """Rows of each row's level, itself included, in the order of the input."""
        return self.unsorted(self.level_size)

    def differs(self) -> Bool[Tensor, " b"]:
        """False for the rows of a segment in which all values tie, in the order of the input."""
        return self.unsorted(self.level_size < self.size)

    def unsorted(self, values: Shaped[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """`values`, given in sorted order, in the order of the input."""
        return torch.empty_like(values).index_copy_(0, self.order, values)


def sorted_in_segments(x: Float[Tensor, " b"], segments: Int[Tensor, " b"], *, finer_than: float) -> Int[Tensor, " b"]:
    """Rows ordered by segment, then value; values much closer than `finer_than` may come in any order.

    Sorting dominates the cost of an advantage. One sort of segment * width + value is three times faster than sorting by value
    and then by segment, but float64 resolves such a key only to about key * 2^-52. Where that is too coarse (exact ties asked for,
    rewards of astronomical size, huge labels) the slow way is taken.
    """
    if len(x) == 0:
        return segments.long()
    shifted, offset = segments - segments.min(), x - x.min()
    width = 2 * offset.max() + 1
    if (shifted.max() + 1) * width * 2.0**-48 < finer_than:
        return (shifted * width + offset).argsort()
    by_value = x.argsort()
    return by_value.index_select(0, segments.index_select(0, by_value).argsort(stable=True))


def runs(starts: Bool[Tensor, " b"]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Number (from 0), first position and length of each row's run, where True marks the first row of a run."""
    number, lengths = torch.unique_consecutive(starts.cumsum(0), return_inverse=True, return_counts=True)[1:]
    first = lengths.cumsum(0) - lengths
    return number, first.index_select(0, number), lengths.index_select(0, number)


def gaussian_ranks(x: Float[Tensor, " b"], segments: Int[Tensor, " b"], atol: float = 1e-6) -> Float[Tensor, " b"]:
    """Replace each value by the standard-normal quantile of its rank in its segment; tied values share their mean quantile.

    The i-th smallest of n values (i = 1..n) gets Phi^-1((i - 0.5) / n), the one-dimensional optimal-transport map onto N(0, 1);
    a segment of one row, or one in which all tie, gets exactly 0 (Hu et al. 2026, arXiv 2604.08539, eq. 5 and App. B).

    Args:
        x: values of any finite float dtype; ranking is done in float64.
        segments: integer labels; equal labels are ranked together, wherever their rows stand.
        atol: values of neighbouring rank no further apart than this are ties (see the head of this file).

    Returns:
        Quantiles in float64.

    >>> segments = torch.tensor([7, 7, 7, 7, 2])
    >>> [round(q, 3) for q in gaussian_ranks(torch.tensor([0.0, 9.0, 0.0, 1.0, 5.0]), segments).tolist()]
    [-0.734, 1.15, -0.734, 0.319, 0.0]
    """
    return TieLevels(x, segments, atol=atol).quantiles()
