"""Prompts to scored completions, with online filtering: groups that teach nothing are replaced by
fresh ones.

A group whose completions are all right or all wrong has no order to learn from (DAPO, arXiv
2503.14476). The decision looks at the accuracy alone, never at the shaped total: a length bonus
must not make a hopeless group look informative.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import GroupFilter, Reward, RolloutEngine
from g2rpo.records import TASKS, PromptBatch, Rollouts, Sampling, Scores
from g2rpo.rollout.groups import generate_groups, group_means
from g2rpo.rollout.join import cat_batches, cat_rollouts, cat_scores, select_groups
from g2rpo.rollout.score import score_rollouts
from g2rpo.stopwatch import timed


class OnlineFilter:
    """Which groups are kept: mean accuracy strictly inside (low, high).

    Args:
        low: Groups at or below this mean accuracy are dropped.
        high: Groups at or above it, likewise.
        max_draws: Batches drawn for one step at most; then the step goes on with what it has.
        empty_draws: After so many batches without one group that is kept, over however many steps,
            the run stops.
    """

    def __init__(
        self, *, low: float = 0.01, high: float = 0.99, max_draws: int = 20, empty_draws: int = 20
    ) -> None:
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"filter: expected 0 <= low < high <= 1 (mean accuracy of a group), got low={low},"
                f" high={high}"
            )
        if max_draws < 1:
            raise ValueError(f"filter.max_draws: expected at least 1 batch, got {max_draws}")
        if empty_draws < max_draws:
            raise ValueError(
                f"filter.empty_draws: expected at least filter.max_draws={max_draws}, got"
                f" {empty_draws}"
            )
        self.low = low
        self.high = high
        self.max_draws = max_draws
        self.empty_draws = empty_draws

    def keeps(self, accuracy: Float[Tensor, " p"]) -> Bool[Tensor, " p"]:
        """True for groups with something to learn from."""
        return (accuracy > self.low) & (accuracy < self.high)


class KeepAll:
    """Keeps every group: one draw a step."""

    max_draws = 1
    empty_draws = 1

    def keeps(self, accuracy: Float[Tensor, " p"]) -> Bool[Tensor, " p"]:
        """True for all."""
        return torch.ones_like(accuracy, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What one step learns from, and what was drawn to get it. Counts are those of all ranks, the
    rest is this rank's.
    """

    batch: PromptBatch
    rollouts: Rollouts
    scores: Scores
    failed: Bool[Tensor, " b"]
    places: list[int]
    """Where this rank's groups stand among those of all ranks, counted from 0 in the order of the
    stream.
    """
    num_groups: int
    """Groups that all ranks learn from together."""
    draws: int
    drawn: Int[Tensor, " tasks"]
    """Prompts drawn per task, in the order of `TASKS`."""
    kept: Int[Tensor, " tasks"]
    accuracies: dict[str, float]
    """Mean accuracy of every group that was drawn, kept or not, by the id of its prompt."""
    empty: bool
    """True where the filter kept no group at all, and the last draw stands for the step."""


def collect(
    first: PromptBatch,
    more: Callable[[], PromptBatch],
    engine: RolloutEngine,
    reward: Reward,
    sampling: Sampling,
    *,
    group_filter: GroupFilter,
    failure_budget: float,
    seed: int,
    group_size_of: Mapping[str, int] | None = None,
) -> Collected:
    """Generates, judges and filters until all ranks together keep as many groups as their first
    batches have prompts.

    Groups are taken in the order of the stream (draw, rank, row), so that which ones are learned
    from does not depend on the number of ranks; a rank may end up with more groups than another, or
    with none. Where not one group is kept in `max_draws` draws, the groups of the last draw are
    taken as they are (`Collected.empty`): they carry no advantage, but the step has its numbers.
    `group_size_of` names tasks whose groups have another size than `sampling` says.
    """
    room = wanted = int(ranks.all_reduce_sum(torch.tensor(len(first.prompts))))
    kept: list[tuple[PromptBatch, Rollouts, Scores, Bool[Tensor, " b"]]] = []
    drawn, kept_count = (
        torch.zeros(len(TASKS), dtype=torch.long),
        torch.zeros(len(TASKS), dtype=torch.long),
    )
    places: list[int] = []
    accuracies: dict[str, float] = {}
    draws = 0
    while room > 0 and draws < group_filter.max_draws:
        batch = more() if draws else first
        with timed("decode"):
            rollouts = generate_groups(engine, batch, sampling, group_size_of or {}, seed + draws)
        scored = score_rollouts(reward, batch.prompts, rollouts, failure_budget)
        accuracy = group_means(scored.scores.parts["accuracy"], rollouts.prompt, len(batch.prompts))
        keep = group_filter.keeps(accuracy)
        accuracies |= dict(
            ranks.all_gather_list(
                [(p.id, mean) for p, mean in zip(batch.prompts, accuracy.tolist(), strict=True)]
            )
        )
        drawn += ranks.all_reduce_sum(_per_task(batch.task))
        kept_count += ranks.all_reduce_sum(_per_task(batch.task[keep]))
        counts = ranks.all_gather_list([int(keep.sum())])
        ahead = sum(counts[: ranks.rank()])
        rows = keep.nonzero()[: max(0, room - ahead), 0]
        places += range(wanted - room + ahead, wanted - room + ahead + len(rows))
        if len(rows) or not kept:
            kept.append(select_groups(batch, rollouts, scored.scores, scored.failed, rows))
        room -= min(room, sum(counts))
        draws += 1
    empty = not kept_count.sum()
    if empty:
        counts = ranks.all_gather_list([len(batch.prompts)])
        room = wanted - sum(counts)
        places = list(range(sum(counts[: ranks.rank()]), sum(counts[: ranks.rank() + 1])))
        kept = [(batch, rollouts, scored.scores, scored.failed)]
    filled = [part for part in kept if part[0].prompts] or kept[:1]
    batches, rollout_parts, score_parts, failed = zip(*filled, strict=True)
    return Collected(
        batch=cat_batches(batches),
        rollouts=cat_rollouts(rollout_parts),
        scores=cat_scores(score_parts),
        failed=torch.cat(failed),
        places=places,
        num_groups=wanted - room,
        draws=draws,
        drawn=drawn,
        kept=kept_count,
        accuracies=accuracies,
        empty=empty,
    )


def _per_task(task: Int[Tensor, " p"]) -> Int[Tensor, " tasks"]:
    return torch.bincount(task.cpu(), minlength=len(TASKS))


def nothing_kept(drawn: Int[Tensor, " tasks"], draws: int) -> str:
    """What to say after so many draws without a group to learn from; `drawn` counts the prompts of
    each task in the last step.
    """
    tasks = ", ".join(name for name, count in zip(TASKS, drawn.tolist(), strict=True) if count)
    return (
        f"filter: no group with mixed accuracy in {draws} draws in a row, prompts of {tasks}. Every"
        " group was all right or all wrong: choose easier or harder data, a larger"
        " batch.group_size, or filter=none."
    )
