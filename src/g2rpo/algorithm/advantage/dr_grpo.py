"""Dr. GRPO: rewards minus their group's mean, not divided by anything (Liu et al. 2025, arXiv
2503.20783).

    A_i = R_i - mean_group

Dividing by the standard deviation favors questions that are nearly always or nearly never solved.
The other half of the method is in the loss: `loss.aggregation=constant` divides by a constant, not
by each completion's length.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.segments import Segments, check_rewards


class DrGRPO:
    """Distance to the group's mean. It has no settings."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """One advantage per completion; a group of one gets 0. Only `rewards` and `groups` are
        used.
        """
        check_rewards(rewards)
        return (rewards.double() - Segments(groups).mean(rewards)).to(rewards.dtype)
