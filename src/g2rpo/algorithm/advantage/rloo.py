"""RLOO: rewards minus the mean of the others in the group (Ahmadian et al., arXiv 2402.14740).

A_i = R_i - mean_{j != i} R_j = n / (n - 1) * (R_i - mean_group)
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards


class RLOO:
    """Rewards minus their leave-one-out baseline, without settings."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion, 0 in a group of one; uses `rewards` and `groups`."""
        check_rewards(rewards)
        segments = Segments(groups)
        sizes = segments.sizes.double()
        factor = (sizes / (sizes - 1).clamp(min=1))[segments.index]
        return (factor * (rewards.double() - segments.mean(rewards))).to(rewards.dtype)
