"""G2RPO: group-relative advantages, matched to a standard normal (Hu et al. 2026, arXiv
2604.08539).

GRPO divides by a group's standard deviation, so a task with spread-out rewards pulls harder than
one whose rewards are nearly
binary, and one lucky completion flattens its whole group. G2RPO keeps only the *order* of rewards,
R -> Phi^-1(F(R)):

    1. in each prompt's group, replace a reward by the N(0, 1) quantile of its rank;
    2. do the same once more over all completions of a task, so that every task has the same scale.

The paper and its release do not agree on which F is meant, so `scope` names it: `group` is step 1
alone (App. B and every worked example), `task` ranks the rewards of a task directly (eq. 5),
`group_then_task` is both steps (the released code).

Where the release goes wrong, this differs from it (measured; the numbers are in the tests):
  - Float noise broke ties: its second step saw 1e-8 and -2e-8 as different ranks, which moved
      single advantages by up to 0.55. Here ranks are taken in float64, and values within a
      tolerance tie.
  - A group that agrees got a push: step 2 turns its zeros into +-0.54 (eight completions beside one
      group of 1/8 right). `zero_signal=mask` gives such a group exactly 0 and leaves it out of its
      task's ranking; `keep` reproduces the release.
  - Ranks forget size: a reward difference of 1e-6 became a full-size advantage. Hence `tie_atol`.

After step 2 the advantages of a group need not sum to zero.
The rest of the objective: loss/ (clipped ratio, KL), shaping/ (length before this step, entropy
beside the loss).
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.gaussian import TieLevels, gaussian_ranks
from g2rpo.algorithm.advantage.segments import check_rewards

Scope = Literal["group", "task", "group_then_task"]
ZeroSignal = Literal["mask", "keep"]

QUANTILE_ATOL = 1e-6
"""What ties in the second step, in quantiles. `tie_atol` is in units of the reward and does not
apply there.
"""


class G2RPO:
    """Gaussian ranks within the group, within the task, or one after the other."""

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
        """One advantage per completion, about N(0, 1) within each task; only `rewards`, `groups`
        and `tasks` are used.
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
    """Range checks shared by the two G2RPO estimators."""
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
    """Gaussian ranks over each task's rows that carry signal (all if None), in float64; exactly 0
    for the others.
    """
    if signal is None:
        return gaussian_ranks(values, tasks, atol)
    rows = signal.nonzero().squeeze(1)
    ranks = gaussian_ranks(values.index_select(0, rows), tasks.index_select(0, rows), atol)
    return torch.zeros_like(values, dtype=torch.float64).index_copy_(0, rows, ranks)
