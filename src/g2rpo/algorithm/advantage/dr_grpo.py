"""Dr. GRPO: rewards minus the mean of their group (Liu et al. 2025, arXiv 2503.20783).

    A_i = R_i - mean_group

There is no division by the standard deviation, which would favor questions that are almost always
or almost never solved. The second half of the method is `loss.aggregation=constant`, which divides
by a constant instead of each completion's length.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards


class DrGRPO:
    """Rewards minus the mean of their group. There are no settings."""

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
        return (rewards.double() - Segments(groups).mean(rewards)).to(rewards.dtype)
