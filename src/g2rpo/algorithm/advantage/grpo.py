"""GRPO: rewards standardized within their group (Shao et al. 2024, arXiv 2402.03300, eq. 10).

A_i = (R_i - mean_group) / (std_group + 1e-6),   std with n - 1, as in the common implementations
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.segments import Segments, check_rewards

EPS = 1e-6
"""Keeps a group that agrees at 0 / EPS = 0; the value of EasyR1 and verl."""


class GRPO:
    """Mean and standard deviation of the group. It has no settings."""

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
        return standardized(rewards, Segments(groups)).to(rewards.dtype)


def standardized(values: Float[Tensor, " b"], groups: Segments) -> Float[Tensor, " b"]:
    """Values minus their group's mean, over its unbiased standard deviation, in float64."""
    return (values.double() - groups.mean(values)) / (groups.std(values, unbiased=True) + EPS)
