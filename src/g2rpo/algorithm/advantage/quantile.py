"""QAE: a quantile of the group instead of its mean as baseline (Wu et al. 2025, arXiv 2509.22611).

    A_i = (R_i - Q_K) / (std_group + 1e-6)        Q_K = min {r : share of the group <= r is >= K}

With rewards of 0 and 1 and a share p of right answers, Q_K is 0 if p <= 1 - K and 1 otherwise. Hard
prompts then reinforce their rare successes alone, and easy prompts push down their rare failures
alone; all others get exactly 0. The paper recommends K = 0.4. The standard deviation divides by
n - 1, as in GRPO. Advantages of a group do not sum to zero.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards

EPS = 1e-6
ROUNDING = 1e-9
"""Float64 noise in K times the group size, which is rounded up to a rank."""


class QuantileBaseline:
    """Rewards minus a quantile of their group, divided by its standard deviation.

    Args:
        quantile: K, the share of the group at or below the baseline, above 0 and at most 1.
    """

    def __init__(self, *, quantile: float = 0.4) -> None:
        if not 0 < quantile <= 1:
            raise ValueError(f"advantage.quantile: expected a share in (0, 1], got {quantile}")
        self.quantile = quantile

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
        by_group, values = Segments(groups), rewards.double()
        by_value = values.argsort()
        order = by_value[by_group.index[by_value].argsort(stable=True)]
        rank = (self.quantile * by_group.sizes.double() - ROUNDING).ceil().long().clamp(min=1)
        first = by_group.sizes.cumsum(0) - by_group.sizes
        baseline = values[order[first + rank - 1]][by_group.index]
        std = by_group.std(rewards, unbiased=True)
        return ((values - baseline) / (std + EPS)).to(rewards.dtype)
