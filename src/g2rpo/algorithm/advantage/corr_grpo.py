"""CorrGRPO: the reward over the correlation of its parts (Hu et al. 2026, arXiv 2609.36820).

    A_i = (R_i - mean_group) / sqrt(sum over parts l, m of rho_lm + 1e-6)

rho_lm is the Pearson correlation of two parts within the group, 1 for l = m and 0 if a part does
not vary. GRPO divides by the square root of the sum of covariances, in which the part with the
largest scale dominates. Numerator and constant are those of the released code. With unit vectors
z_l = (R_l - mean_group) / |R_l - mean_group|, the sum is |sum over l of z_l|^2, computed as such.

The sum approaches 0 where two parts oppose each other perfectly, and the advantage then grows up to
1000 times the centered reward; clipping the gradient bounds the step. Two things are ours: a group
in which no part varies gets 0, although a KL penalty may differ there, and a completion that lacks
a part (NaN) adds 0 to its correlations. A negative weight of a part does not turn its correlations.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards
from g2rpo.algorithm.advantage.reward_parts import over_parts

EPS = 1e-6
"""Added to the sum of correlations; parts whose deviations have a smaller norm do not vary."""


class CorrGRPO:
    """Centered rewards over the correlation of their parts, without settings."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion; uses `rewards`, `groups` and `parts`."""
        check_rewards(rewards)
        by_group = Segments(groups)
        units = over_parts(parts, groups, unit_deviations)
        correlations = by_group.totals(units.sum(0).square())[by_group.index]
        varies = by_group.largest(units.abs().amax(0)) > 0
        centered = (rewards.double() - by_group.mean(rewards)) * varies
        return (centered / (correlations + EPS).sqrt()).to(rewards.dtype)


def unit_deviations(values: Float[Tensor, " n"], groups: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return deviations from the mean of the group with norm 1 per group, or 0, in float64."""
    own = Segments(groups)
    centered = values.double() - own.mean(values)
    norm = own.totals(centered.square()).sqrt()[own.index]
    return (centered / norm).where(norm > EPS, 0.0)
