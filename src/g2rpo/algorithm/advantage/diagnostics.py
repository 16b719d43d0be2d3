"""The `advantage/*` metrics of a rollout batch, per task.

G2RPO aims for N(0, 1) within each task. `mean`, `std` and `normal_distance` measure how close it
comes. `tie_frac` and `zero_signal_frac` explain deviations: binary rewards, and groups with equal
rewards. `shaping_only_frac` is the share of groups that differ by shaping alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.gaussian import TieLevels
from g2rpo.algorithm.advantage.segments import Segments


def advantage_metrics(
    advantages: Float[Tensor, " b"],
    rewards: Float[Tensor, " b"],
    totals: Float[Tensor, " b"],
    groups: Int[Tensor, " b"],
    tasks: Int[Tensor, " b"],
    names: Sequence[str],
    *,
    tie_atol: float = 1e-6,
) -> dict[str, float]:
    """Return six metrics for each task in the batch, under their names in `g2rpo.metrics`.

    Args:
        advantages: Output of the estimator, including groups without a signal.
        rewards: Input of the estimator: total plus the weighted length part, if there is one.
        totals: Rewards before shaping.
        groups: One label per prompt.
        tasks: Position of each row's task in `names`.
        names: The tasks of the run.
        tie_atol: Rewards that differ by at most this tie, in units of the reward.
    """
    advantages, rewards, totals, groups, tasks = (
        x.cpu() for x in (advantages, rewards, totals, groups, tasks)
    )
    levels = TieLevels(rewards, groups, atol=tie_atol)
    tied, differs = levels.ties() > 1, levels.differs()
    shaping_only = differs & ~TieLevels(totals, groups, atol=tie_atol).differs()
    by_group = Segments(groups)
    group_weight = 1.0 / by_group.sizes.double()[by_group.index]
    row: dict[str, float] = {}
    for task in tasks.unique().tolist():
        rows = tasks == task
        own = advantages[rows].double()
        row |= {
            f"advantage/mean/{names[task]}": own.mean().item(),
            f"advantage/std/{names[task]}": own.std(correction=0).item(),
            f"advantage/normal_distance/{names[task]}": normal_distance(own),
            f"advantage/tie_frac/{names[task]}": tied[rows].double().mean().item(),
            f"advantage/zero_signal_frac/{names[task]}": share_of_groups(
                ~differs[rows], group_weight[rows]
            ),
            f"advantage/shaping_only_frac/{names[task]}": share_of_groups(
                shaping_only[rows], group_weight[rows]
            ),
        }
    return row


def share_of_groups(flags: Bool[Tensor, " n"], group_weight: Float[Tensor, " n"]) -> float:
    """Return the share of flagged groups; each row has the weight 1 / size of its group."""
    return ((flags * group_weight).sum() / group_weight.sum()).item()


def normal_distance(values: Float[Tensor, " n"]) -> float:
    """Return the Kolmogorov-Smirnov statistic of `values` against N(0, 1), in [0, 1]."""
    normal = torch.special.ndtr(values.double().sort().values)
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    return torch.maximum((steps[1:] - normal).max(), (normal - steps[:-1]).max()).item()
