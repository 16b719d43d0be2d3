"""Statistics of labeled rows (groups, tasks) without a Python loop, and a check of rewards."""

import torch
from jaxtyping import Float, Int, Shaped
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
    """Raise `ValueError` unless rewards are finite floats; one NaN would spoil a whole task."""
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
