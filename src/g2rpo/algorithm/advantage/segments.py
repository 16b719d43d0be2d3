"""Sums over labeled rows: what every estimator needs to speak of groups and tasks without a Python
loop over them.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


class Segments:
    """Rows that share a label. `index[b]` is the label as 0..count-1, in the order of the labels;
    `sizes[count]` counts rows.

    Statistics come back per *row*, ready to be combined with the values they were made from, and in
    float64: sums of a few thousand float32 rewards would otherwise differ with their order.
    """

    def __init__(self, labels: Int[Tensor, " b"]) -> None:
        self.labels, self.index, self.sizes = torch.unique(
            labels, return_inverse=True, return_counts=True
        )

    def totals(self, values: Shaped[Tensor, " b"]) -> Float[Tensor, " s"]:
        """Sum of `values` per segment."""
        return values.new_zeros(len(self.sizes), dtype=torch.float64).index_add_(
            0, self.index, values.double()
        )

    def mean(self, values: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Mean over each row's segment."""
        return (self.totals(values) / self.sizes).index_select(0, self.index)

    def std(self, values: Shaped[Tensor, " b"], *, unbiased: bool) -> Float[Tensor, " b"]:
        """Standard deviation over each row's segment, dividing by n - 1 if `unbiased`; 0 where a
        segment has one row.
        """
        squares = self.totals((values.double() - self.mean(values)).square())
        return (
            (squares / (self.sizes - int(unbiased)).clamp(min=1)).sqrt().index_select(0, self.index)
        )

    def largest(self, values: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Largest value of each row's segment."""
        start = values.new_full((len(self.sizes),), -torch.inf)
        return start.scatter_reduce_(0, self.index, values, "amax")[self.index]

    def any(self, flags: Bool[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Whether any row of each row's segment is flagged."""
        return (self.totals(flags) > 0)[self.index]


def check_rewards(rewards: Tensor) -> None:
    """Refuse what no estimator can rank; one bad reward would silently spoil every advantage of its
    task.
    """
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
