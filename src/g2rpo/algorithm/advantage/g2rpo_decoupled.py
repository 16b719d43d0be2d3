"""G2RPO over separate reward parts ("GS-GDPO" in the released code of arXiv 2604.08539).

    1. in each prompt's group, Gaussian ranks of each part (accuracy, format, structure, ...);
    2. the sum of these ranks over the parts;
    3. Gaussian ranks of the sums over all completions of a task.

A part that is equal in the whole group adds 0, so it does not hide differences in accuracy. All
parts count equally, regardless of their weight in the total reward. The release lost ties to float
noise in step 2; here the sums are float64 and tie within 1e-6. With `zero_signal=mask`, a group in
which no part differs gets exactly 0 and is not ranked. A part that is NaN for a completion adds 0,
and is ranked among the others of the group.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.g2rpo import (
    QUANTILE_ATOL,
    ZeroSignal,
    check_rank_options,
    rank_within_tasks,
)
from g2rpo.algorithm.advantage.group_statistics import TieLevels
from g2rpo.algorithm.advantage.reward_parts import over_parts


class DecoupledG2RPO:
    """Gaussian ranks of each reward part in its group, summed, and ranked again within the task.

    Args:
        zero_signal: `mask` gives groups in which no part differs exactly 0, `keep` ranks them.
        tie_atol: Values of a part that differ by at most this tie.
    """

    parts_only: ClassVar[bool] = True
    """`rewards` is ignored, so a KL penalty subtracted from it has no effect."""

    def __init__(self, *, zero_signal: ZeroSignal = "mask", tie_atol: float = 1e-6) -> None:
        check_rank_options(zero_signal, tie_atol)
        self.zero_signal = zero_signal
        self.tie_atol = tie_atol

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion from `parts`, `groups` and `tasks`."""
        ranked = over_parts(parts, groups, self._ranked)
        signal = ranked[:, 1].any(0) if self.zero_signal == "mask" else None
        return rank_within_tasks(ranked[:, 0].sum(0), tasks, signal, QUANTILE_ATOL).to(
            rewards.dtype
        )

    def _ranked(
        self, values: Float[Tensor, " n"], groups: Int[Tensor, " n"]
    ) -> Float[Tensor, "2 n"]:
        """Return Gaussian ranks of a part, and 1 where the part differs within the group."""
        levels = TieLevels(values, groups, atol=self.tie_atol)
        return torch.stack([levels.quantiles(), levels.differs().double()])
