"""G2RPO: advantages matched to a standard normal (Hu et al. 2026, arXiv 2604.08539).

GRPO divides by the standard deviation of a group. The gradient of a task then depends on how its
rewards are distributed, and one outlier shrinks the advantages of its whole group. G2RPO uses only
the *order* of the rewards, R -> Phi^-1(F(R)):

    1. in each prompt's group, replace every reward by the N(0, 1) quantile of its rank;
    2. repeat this over all completions of a task, so that every task has the same scale.

The paper and its released code disagree on F, so `scope` selects it. `group` is step 1 alone (App.
B and all worked examples), `task` ranks the rewards of a task directly (eq. 5), and
`group_then_task` does both steps (the released code).

This implementation corrects three faults of the release. The tests measure each of them:
  - Float noise broke ties: step 2 ranked 1e-8 and -2e-8 differently, which changed single
    advantages by up to 0.55. Here ranks are computed in float64, and values within a tolerance tie.
  - Groups with equal rewards got a gradient: step 2 turned their zeros into +-0.54 (eight such
    completions beside a group with 1 of 8 right). `zero_signal=mask` gives these groups exactly 0
    and leaves them out of the ranking; `keep` reproduces the release.
  - Ranks ignore size: a reward difference of 1e-6 gave a full-size advantage. Hence `tie_atol`.

After step 2 the advantages of a group do not sum to zero in general.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import TieLevels, check_rewards, gaussian_ranks

Scope = Literal["group", "task", "group_then_task"]
ZeroSignal = Literal["mask", "keep"]

QUANTILE_ATOL = 1e-6
"""Tie tolerance of step 2, which ranks quantiles; `tie_atol` is in units of the reward instead."""


class G2RPO:
    """Gaussian ranks within the group, within the task, or first one and then the other.

    Args:
        scope: Rewards that are ranked together, see the head of this file.
        zero_signal: `mask` gives groups with equal rewards exactly 0, `keep` ranks them.
        tie_atol: Rewards that differ by at most this tie, in units of the reward.
    """

    def __init__(
        self,
        *,
        scope: Scope = "group_then_task",
        zero_signal: ZeroSignal = "mask",
        tie_atol: float = 1e-6,
    ) -> None:
        if scope not in get_args(Scope):
            raise ValueError(
                f"advantage.scope: expected one of {', '.join(get_args(Scope))}, got {scope!r}"
            )
        check_rank_options(zero_signal, tie_atol)
        self.scope = scope
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
        """Return one advantage per completion, approximately N(0, 1) within each task.

        Uses `rewards`, `groups` and `tasks`.
        """
        check_rewards(rewards)
        in_group = TieLevels(rewards, groups, atol=self.tie_atol)
        if self.scope == "group":
            return in_group.quantiles().to(rewards.dtype)
        signal = in_group.differs() if self.zero_signal == "mask" else None
        if self.scope == "task":
            return rank_within_tasks(rewards, tasks, signal, self.tie_atol).to(rewards.dtype)
        return rank_within_tasks(in_group.quantiles(), tasks, signal, QUANTILE_ATOL).to(
            rewards.dtype
        )


def check_rank_options(zero_signal: str, tie_atol: float) -> None:
    """Check the options that both G2RPO estimators have."""
    if zero_signal not in get_args(ZeroSignal):
        raise ValueError(
            f"advantage.zero_signal: expected one of {', '.join(get_args(ZeroSignal))}, got"
            f" {zero_signal!r}"
        )
    if not 0 <= tie_atol < float("inf"):
        raise ValueError(
            f"advantage.tie_atol: expected 0 or more (in units of the reward), got {tie_atol}"
        )


def rank_within_tasks(
    values: Float[Tensor, " b"],
    tasks: Int[Tensor, " b"],
    signal: Bool[Tensor, " b"] | None,
    atol: float,
) -> Float[Tensor, " b"]:
    """Return Gaussian ranks within each task in float64.

    Args:
        values: Values to rank.
        tasks: One task label per row.
        signal: Rows to rank; the others get exactly 0. None ranks all rows.
        atol: Values of neighboring rank that differ by at most this tie.
    """
    if signal is None:
        return gaussian_ranks(values, tasks, atol)
    rows = signal.nonzero().squeeze(1)
    ranks = gaussian_ranks(values.index_select(0, rows), tasks.index_select(0, rows), atol)
    return torch.zeros_like(values, dtype=torch.float64).index_copy_(0, rows, ranks)
