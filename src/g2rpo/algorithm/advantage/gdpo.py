"""GDPO: reward parts standardized separately, summed, and whitened (Liu et al., arXiv 2601.05242).

    1. A_part = (R_part - mean_group) / (std_group + 1e-6), as in GRPO;
    2. S = sum over parts;
    3. A = (S - mean) / sqrt(var + 1e-6) over the batch, with the population variance.

In step 3 each completion is weighted by its number of tokens, as in the released implementation.
Step 3 adds 1e-6 to the variance and the release 1e-8; they differ where parts cancel and the
variance is that small. Without `completion_tokens`, all completions have equal weight. A part that
is NaN for a completion adds 0 to its sum; the mean and std of that part are those of the others.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments
from g2rpo.algorithm.advantage.grpo import standardized
from g2rpo.algorithm.advantage.reward_parts import over_parts

EPS = 1e-6
"""Added to the variance, so that a batch without any signal stays at 0."""


class GDPO:
    """Standardized reward parts, summed and whitened, without settings."""

    parts_only: ClassVar[bool] = True
    """`rewards` is ignored, so a KL penalty subtracted from it has no effect."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion from `parts`, `groups` and `completion_tokens`."""
        summed = over_parts(
            parts, groups, lambda values, own: standardized(values, Segments(own))
        ).sum(0)
        tokens = (
            torch.ones_like(summed) if completion_tokens is None else completion_tokens.double()
        )
        return whitened(summed, tokens).to(rewards.dtype)


def whitened(values: Float[Tensor, " b"], weights: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return values with weighted mean 0 and weighted population variance 1, in float64."""
    weights = weights / weights.sum().clamp(min=1)
    centered = values - (weights * values).sum()
    return centered / ((weights * centered.square()).sum() + EPS).sqrt()
