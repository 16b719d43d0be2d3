"""G2RPO over the parts of a reward ("GS-GDPO" in the release of arXiv 2604.08539).

    1. in each prompt's group, Gaussian ranks of each part (accuracy, format, structure, ...) by
        itself;
    2. add them up;
    3. Gaussian ranks of the sums over all completions of a task.

A part that all completions of a group share adds 0, so accuracy is not drowned by parts that
everybody gets right, but all parts weigh the same, whatever their weight in the total. The sums of
step 2 are where the release lost ties to float noise; here they are float64 and tie within 1e-6.
Under `zero_signal=mask` a group in which no part differs gets exactly 0 and is not ranked.
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
from g2rpo.algorithm.advantage.gaussian import TieLevels
from g2rpo.algorithm.advantage.parts import reward_parts


class DecoupledG2RPO:
    """Gaussian ranks of each reward part in its group, summed, ranked again within the task."""

    parts_only: ClassVar[bool] = True
    """`rewards` are not looked at, so what is subtracted from them has no effect."""

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
        """One advantage per completion from `parts` (required); `rewards` itself is not looked
        at.
        """
        levels = [TieLevels(part, groups, atol=self.tie_atol) for part in reward_parts(parts)]
        summed = torch.stack([level.quantiles() for level in levels]).sum(0)
        signal = (
            torch.stack([level.differs() for level in levels]).any(0)
            if self.zero_signal == "mask"
            else None
        )
        return rank_within_tasks(summed, tasks, signal, QUANTILE_ATOL).to(rewards.dtype)
