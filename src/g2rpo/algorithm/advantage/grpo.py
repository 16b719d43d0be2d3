"""GRPO: rewards standardized within their group (Shao et al. 2024, arXiv 2402.03300, eq. 10).

    A_i = (R_i - mean_group) / (std_group + 1e-6)

The standard deviation divides by n - 1, as in the common implementations.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards

EPS = 1e-6
"""Added to the standard deviation, so that a group of equal rewards gets 0; as in verl."""


class GRPO:
    """Rewards standardized within their group, without settings."""

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
        return standardized(rewards, Segments(groups)).to(rewards.dtype)


def standardized(values: Float[Tensor, " b"], groups: Segments) -> Float[Tensor, " b"]:
    """Return values minus the mean of their group over its unbiased standard deviation, float64."""
    return (values.double() - groups.mean(values)) / (groups.std(values, unbiased=True) + EPS)
