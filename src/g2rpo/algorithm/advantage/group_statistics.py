"""Statistics of labeled rows (groups, tasks) without a Python loop: means, ranks, and metrics.

The Gaussian rank map replaces each value by the N(0, 1) quantile of its rank within its segment.
Ties share their mean quantile. The values of a segment are sorted, and a new level starts where the
gap to the *previous* value exceeds `atol`. At atol=1e-6, the values 0, 0.9e-6 and 1.8e-6 are
therefore one level, although its ends differ by more than `atol`. This chaining keeps the order of
values and treats x and -x alike. In practice chains do not grow, because float noise is far below
`atol` and differences of real rewards are far above it.

The `advantage/*` metrics say how close a task comes to N(0, 1), at which G2RPO aims: `mean`, `std`
and `normal_distance`. `tie_frac` and `zero_signal_frac` explain deviations: binary rewards, and
groups with equal rewards. `shaping_only_frac` is the share of groups that differ by shaping alone.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


class Segments:
    """Rows grouped by label.

    `index[b]` is the 0-based position of a row's label in sorted order; `sizes[s]` counts rows.
    Statistics are returned per *row*, so that they combine with the input values. They are float64,
    because float32 sums over thousands of rewards would depend on the order of rows.
    """

    def __init__(self, labels: Int[Tensor, " b"]) -> None:
        self.labels, self.index, self.sizes = torch.unique(
            labels, return_inverse=True, return_counts=True
        )

    def totals(self, values: Shaped[Tensor, " b"]) -> Float[Tensor, " s"]:
        """Return the sum of `values` per segment."""
        return values.new_zeros(len(self.sizes), dtype=torch.float64).index_add_(
            0, self.index, values.double()
        )

    def mean(self, values: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the mean over each row's segment."""
        return (self.totals(values) / self.sizes).index_select(0, self.index)

    def std(self, values: Shaped[Tensor, " b"], *, unbiased: bool) -> Float[Tensor, " b"]:
        """Return the standard deviation of each row's segment, 0 in a segment of one row.

        Args:
            values: One value per row.
            unbiased: Whether to divide by n - 1 instead of n.
        """
        squares = self.totals((values.double() - self.mean(values)).square())
        return (
            (squares / (self.sizes - int(unbiased)).clamp(min=1)).sqrt().index_select(0, self.index)
        )

    def largest(self, values: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the largest value of each row's segment."""
        start = values.new_full((len(self.sizes),), -torch.inf)
        return start.scatter_reduce_(0, self.index, values, "amax")[self.index]


def check_rewards(rewards: Tensor) -> None:
    """Raise `ValueError` unless rewards [b] are finite floats; one NaN would spoil a whole task."""
    if not rewards.is_floating_point():
        raise ValueError(
            f"advantage: expected rewards of a floating-point dtype, got {rewards.dtype}"
        )
    if not torch.isfinite(rewards).all():
        row = int(torch.isfinite(rewards).logical_not().nonzero()[0])
        raise ValueError(
            f"advantage: expected finite rewards, got {rewards[row].item()} for completion {row} of"
            " the batch"
        )


ROUNDING = 1.125
"""Factor on `atol`: two rewards exactly `atol` apart tie despite float32 rounding near 1."""

EXACT_ZERO = 1e-12
"""Absolute mean quantiles below this become 0; opposite quantiles cancel only to about 1e-17."""


class TieLevels:
    """Values sorted within their segments and grouped into levels of tied values.

    `order[b]` sorts rows by segment, then by value. In that order, `segment[b]` and `level[b]` are
    0-based numbers of segments and levels; `segment_sizes` and `level_sizes` count their rows.

    Args:
        x: Values to rank.
        segments: Integer labels; rows with equal labels are ranked together.
        atol: Values of neighboring rank that differ by at most this tie.
    """

    def __init__(self, x: Float[Tensor, " b"], segments: Int[Tensor, " b"], *, atol: float) -> None:
        self.order, new_segment, new_level = sorted_in_segments(x.double(), segments, atol=atol)
        self.segment, self.segment_sizes = numbered(new_segment, len(x))
        self.level, self.level_sizes = numbered(new_level, len(x))

    def quantiles(self) -> Float[Tensor, " b"]:
        """Return the mean N(0, 1) quantile of each row's level, float64, in input order."""
        sizes = self.segment_sizes.double()
        # Phi^-1((i - 0.5) / n) = sqrt(2) erfinv((2 i - 1 - n) / n), where i - 1 is the offset from
        # the first row of the segment.
        shift = 2 * (sizes.cumsum(0) - sizes) + sizes - 1
        twice = 2 * torch.arange(len(self.order), device=self.order.device, dtype=torch.float64)
        scaled = (twice - shift.index_select(0, self.segment)) / sizes.index_select(0, self.segment)
        sums = torch.zeros_like(self.level_sizes, dtype=torch.float64).index_add_(
            0, self.level, torch.erfinv(scaled)
        )
        means = math.sqrt(2) * sums / self.level_sizes
        return self.unsorted(means.where(means.abs() > EXACT_ZERO, 0.0).index_select(0, self.level))

    def ties(self) -> Int[Tensor, " b"]:
        """Return the number of rows in each row's level, in input order."""
        return self.unsorted(self.level_sizes.index_select(0, self.level))

    def differs(self) -> Bool[Tensor, " b"]:
        """Return False for the rows of segments in which all values tie, in input order."""
        return self.unsorted(
            self.level_sizes.index_select(0, self.level)
            < self.segment_sizes.index_select(0, self.segment)
        )

    def unsorted(self, values: Shaped[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """Return `values`, which are in sorted order, in input order."""
        return torch.empty_like(values).index_copy_(0, self.order, values)


def sorted_in_segments(
    x: Float[Tensor, " b"], segments: Int[Tensor, " b"], *, atol: float
) -> tuple[Int[Tensor, " b"], Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Sort rows by segment, then by value, and find the boundaries.

    Sorting dominates the cost of an advantage. One sort of the key segment * width + value is
    faster than two sorts by value and by segment, and gaps between keys show both kinds of
    boundaries. float64 resolves a key only to about key * 2^-52. If that is not far below `atol`
    (atol=0, extreme rewards, huge labels), rows are sorted twice instead.

    Returns:
        The sorting order, and for every row except the first whether it starts a new segment and
        whether it starts a new level.
    """
    if len(x) == 0:
        none = torch.zeros_like(segments, dtype=torch.bool)
        return segments.long(), none, none
    number, offset = segments - segments.min(), x - x.min()
    if number.min() < 0:  # labels so far apart that their difference overflows
        number = segments.unique(return_inverse=True)[1]
    # Gaps within a segment stay below half of this width; gaps between two segments exceed it.
    width = 2 * (offset.max() + atol) + 1
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
    """Return the 0-based run number of each row and the size of each run.

    Args:
        begins: Whether each row except the first starts a new run.
        rows: Number of rows.
    """
    number = torch.zeros(rows, dtype=torch.long, device=begins.device)
    number[1:] = begins.cumsum(0)
    return number, number.bincount()


def gaussian_ranks(
    x: Float[Tensor, " b"], segments: Int[Tensor, " b"], atol: float = 1e-6
) -> Float[Tensor, " b"]:
    """Replace each value by the standard-normal quantile of its rank in its segment.

    The i-th smallest of n values (i = 1..n) becomes Phi^-1((i - 0.5) / n), the one-dimensional
    optimal-transport map onto N(0, 1). Tied values share their mean quantile. A segment with one
    row, or in which all values tie, gets exactly 0 (Hu et al. 2026, arXiv 2604.08539, eq. 5 and
    App. B).

    Args:
        x: Finite values of any float dtype; ranking is done in float64.
        segments: Integer labels; rows with equal labels are ranked together, in any order.
        atol: Values of neighboring rank that differ by at most this tie.

    Returns:
        Quantiles in float64.

    >>> x, segments = torch.tensor([0.0, 9.0, 0.0, 1.0, 5.0]), torch.tensor([7, 7, 7, 7, 2])
    >>> [round(quantile, 3) for quantile in gaussian_ranks(x, segments).tolist()]
    [-0.734, 1.15, -0.734, 0.319, 0.0]
    """
    return TieLevels(x, segments, atol=atol).quantiles()


def advantage_metrics(
    advantages: Float[Tensor, " b"],
    rewards: Float[Tensor, " b"],
    totals: Float[Tensor, " b"],
    groups: Int[Tensor, " b"],
    tasks: Int[Tensor, " b"],
    names: Sequence[str],
    *,
    tie_atol: float = 1e-6,
) -> dict[str, float]:
    """Return six metrics for each task in the batch, under their names in `g2rpo.metrics`.

    Args:
        advantages: Output of the estimator, including groups without a signal.
        rewards: Input of the estimator: total plus the weighted length part, if there is one.
        totals: Rewards before shaping.
        groups: One label per prompt.
        tasks: Position of each row's task in `names`.
        names: The tasks of the run.
        tie_atol: Rewards that differ by at most this tie, in units of the reward.
    """
    advantages, rewards, totals, groups, tasks = (
        x.cpu() for x in (advantages, rewards, totals, groups, tasks)
    )
    levels = TieLevels(rewards, groups, atol=tie_atol)
    tied, differs = levels.ties() > 1, levels.differs()
    shaping_only = differs & ~TieLevels(totals, groups, atol=tie_atol).differs()
    by_group = Segments(groups)
    group_weight = 1.0 / by_group.sizes.double()[by_group.index]
    row: dict[str, float] = {}
    for task in tasks.unique().tolist():
        rows = tasks == task
        own = advantages[rows].double()
        row |= {
            f"advantage/mean/{names[task]}": own.mean().item(),
            f"advantage/std/{names[task]}": own.std(correction=0).item(),
            f"advantage/normal_distance/{names[task]}": normal_distance(own),
            f"advantage/tie_frac/{names[task]}": tied[rows].double().mean().item(),
            f"advantage/zero_signal_frac/{names[task]}": share_of_groups(
                ~differs[rows], group_weight[rows]
            ),
            f"advantage/shaping_only_frac/{names[task]}": share_of_groups(
                shaping_only[rows], group_weight[rows]
            ),
        }
    return row


def share_of_groups(flags: Bool[Tensor, " n"], group_weight: Float[Tensor, " n"]) -> float:
    """Return the share of flagged groups; each row has the weight 1 / size of its group."""
    return ((flags * group_weight).sum() / group_weight.sum()).item()


def normal_distance(values: Float[Tensor, " n"]) -> float:
    """Return the Kolmogorov-Smirnov statistic of `values` against N(0, 1), in [0, 1]."""
    normal = torch.special.ndtr(values.double().sort().values)
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    return torch.maximum((steps[1:] - normal).max(), (normal - steps[:-1]).max()).item()
