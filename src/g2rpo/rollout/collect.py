"""Collect the groups of one step: generate, score, and replace groups without a learning signal.

A group whose completions are all right or all wrong has no advantage (DAPO, arXiv 2503.14476). The
filter sees the accuracy, not the shaped total: a length bonus must not make such a group look
informative.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import GroupFilter
from g2rpo.launch import marks
from g2rpo.records import PromptBatch, Rollouts, Scores
from g2rpo.rollout.groups import (
    Scored,
    cat_batches,
    cat_rollouts,
    cat_scores,
    group_means,
    select_groups,
    select_prompts,
)

DEVIATIONS = 2
"""Safety margin of a draw that is answered partially, in standard deviations of the number of kept
groups: another call of the engine takes longer than a few more prompts.
"""


class OnlineFilter:
    """Keeps groups whose mean accuracy is strictly between `low` and `high`.

    Args:
        low: Groups with a mean accuracy of at most this are dropped.
        high: Groups with a mean accuracy of at least this are dropped.
        max_draws: Maximum number of batches drawn for one step; then the step uses what it has.
        empty_draws: The run stops after this many consecutive batches, over all steps, without a
            group that is kept.
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
        """Return True for each group that is kept."""
        return (accuracy > self.low) & (accuracy < self.high)


class KeepAll:
    """Keeps every group, so each step draws one batch."""

    max_draws = 1
    empty_draws = 1

    def keeps(self, accuracy: Float[Tensor, " p"]) -> Bool[Tensor, " p"]:
        """Return True for each group."""
        return torch.ones_like(accuracy, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """Groups that one step learns from, and statistics of the draws.

    Counts are over all ranks; the other fields are this rank's.
    """

    batch: PromptBatch
    rollouts: Rollouts
    scores: Scores
    failed: Bool[Tensor, " b"]
    places: list[int]
    """Index of each of this rank's groups among those of all ranks, in the order of the stream."""
    num_groups: int
    """Number of groups that all ranks learn from together."""
    draws: int
    """Number of batches that each rank drew."""
    drawn: Mapping[str, int]
    """Number of prompts that were drawn and answered, by task."""
    kept: Mapping[str, int]
    """Number of groups that the filter kept, by task."""
    accuracies: dict[str, float]
    """Mean accuracy of every group that was answered, kept or not, by the id of its prompt."""
    empty: bool
    """Whether the filter kept no group, so the step uses all groups of the last draw."""


Answer = Callable[[PromptBatch, int], tuple[Rollouts, Scored]]
"""Returns completions of a batch and their scores, given how many batches the step drew before."""


def collect(
    first: PromptBatch,
    more: Callable[[Mapping[str, int]], PromptBatch],
    answer: Answer,
    *,
    group_filter: GroupFilter,
    keep_shares: bool = False,
    answer_partially: bool = False,
) -> Collected:
    """Answer, score and filter until all ranks together have as many groups as first prompts.

    Groups are taken in the order of the stream (draw, rank, row), so the selection does not depend
    on the number of ranks. A rank may get more groups than another, or none. If no group is kept
    in `max_draws` draws, all groups of the last draw are used (`Collected.empty`): they have no
    advantage, but the step still has metrics.

    Args:
        first: This rank's first batch.
        more: Returns this rank's next batch; with `keep_shares` it gets what each task lacks.
        answer: Returns the completions of a batch with their scores, now or from what was written
            ahead.
        group_filter: Decides which groups are kept.
        keep_shares: Whether no task gets more groups than it has first prompts. The step has fewer
            groups if some tasks lack some after `max_draws` draws.
        answer_partially: Whether only the first prompts of a further draw are answered, as many as
            the missing groups need. The rest follows if they were too few. The groups are the
            same, because the prompts that stay unanswered are the last ones of the draw.
    """
    tasks = ranks.all_gather_list([prompt.task for prompt in first.prompts])
    taken = _Taken(wanted=len(tasks), missing=Counter(tasks) if keep_shares else None)
    drawn, kept = Counter[str](), Counter[str]()
    accuracies: dict[str, float] = {}
    draws = 0
    rest: PromptBatch | None = None
    while taken.room > 0 and (rest or draws < group_filter.max_draws):
        if rest is None:
            rest = more(taken.missing or {}) if draws else first
            draws += 1
        num = _prompts_needed(taken.room, kept, drawn) if answer_partially else None
        batch, rest = _cut(rest, num)
        marks.work_on(prompt.task for prompt in batch.prompts)
        with ranks.dropping_together():
            rollouts, scored = answer(batch, draws - 1)
        accuracy = group_means(scored.scores.accuracy, rollouts.prompt, len(batch.prompts))
        keep = group_filter.keeps(accuracy)
        own = [
            (prompt.id, prompt.task, mean, used)
            for prompt, mean, used in zip(
                batch.prompts, accuracy.tolist(), keep.tolist(), strict=True
            )
        ]
        for id, task, mean, used in ranks.all_gather_list(own):
            accuracies[id] = mean
            drawn[task] += 1
            kept[task] += used
        taken.add(batch, rollouts, scored, keep)
    empty = not kept.total()
    if empty:
        taken.replace_by(batch, rollouts, scored)
    return taken.collected(draws=draws, drawn=drawn, kept=kept, accuracies=accuracies, empty=empty)


def _prompts_needed(room: int, kept: Counter[str], drawn: Counter[str]) -> int | None:
    """Return the number of prompts that almost surely yield `room` kept groups; None for all.

    If the filter has kept a share p of the groups, n prompts yield n p kept groups on average, with
    a variance of n p (1 - p).
    """
    if not kept.total():
        return None
    share = kept.total() / drawn.total()
    spread = DEVIATIONS / 2 * math.sqrt(1 - share)
    return math.ceil((spread + math.sqrt(spread**2 + room)) ** 2 / share)


def _cut(batch: PromptBatch, num: int | None) -> tuple[PromptBatch, PromptBatch | None]:
    """Return the first prompts of a batch, and the others if there are any."""
    if num is None or num >= len(batch.prompts):
        return batch, None
    rows = torch.arange(len(batch.prompts), device=batch.input_ids.device)
    return select_prompts(batch, rows[:num]), select_prompts(batch, rows[num:])


class _Taken:
    """Groups that this rank has taken so far.

    Args:
        wanted: Number of groups that all ranks want together.
        missing: The same by task; None if any task may fill any place.
    """

    def __init__(self, wanted: int, missing: Counter[str] | None) -> None:
        self.wanted = self.room = wanted
        self.missing = missing
        self.places: list[int] = []
        self.parts: list[tuple[PromptBatch, Rollouts, Scores, Bool[Tensor, " b"]]] = []

    def add(
        self, batch: PromptBatch, rollouts: Rollouts, scored: Scored, keep: Bool[Tensor, " p"]
    ) -> None:
        """Take kept groups of a draw, lower ranks first, until all ranks have enough together."""
        kept = keep.nonzero()[:, 0]
        own = [(ranks.rank(), batch.prompts[row].task) for row in kept.tolist()]
        used = []
        for rank, task in ranks.all_gather_list(own):
            use = self._use(task)
            if rank == ranks.rank():
                used.append(use)
                self.places += [self.wanted - self.room - 1] * use
        rows = kept[torch.tensor(used, dtype=torch.bool, device=kept.device)]
        if len(rows) or not self.parts:
            self.parts.append(select_groups(batch, rollouts, scored.scores, scored.failed, rows))

    def _use(self, task: str) -> bool:
        """Return whether there is a place for the next group, of a task, and fill it."""
        if not self.room or (self.missing is not None and not self.missing[task]):
            return False
        self.room -= 1
        if self.missing is not None:
            self.missing[task] -= 1
        return True

    def replace_by(self, batch: PromptBatch, rollouts: Rollouts, scored: Scored) -> None:
        """Take all groups of this draw in place of those taken so far."""
        counts = ranks.all_gather_list([len(batch.prompts)])
        self.room = self.wanted - sum(counts)
        rank = ranks.rank()
        self.places = list(range(sum(counts[:rank]), sum(counts[: rank + 1])))
        self.parts = [(batch, rollouts, scored.scores, scored.failed)]

    def collected(self, **statistics: Any) -> Collected:
        """Return the groups, joined, with the other fields of `Collected`."""
        filled = [part for part in self.parts if part[0].prompts] or self.parts[:1]
        batches, rollouts, scores, failed = zip(*filled, strict=True)
        return Collected(
            batch=cat_batches(batches),
            rollouts=cat_rollouts(rollouts),
            scores=cat_scores(scores),
            failed=torch.cat(failed),
            places=self.places,
            num_groups=self.wanted - self.room,
            **statistics,
        )


def nothing_kept(drawn: Mapping[str, int], draws: int) -> str:
    """Return the error message for a run in which the filter keeps no group.

    Args:
        drawn: Number of prompts drawn in the last step, by task.
        draws: Number of consecutive draws without a group that was kept.
    """
    return (
        f"filter: no group with mixed accuracy in {draws} draws in a row, prompts of"
        f" {', '.join(drawn)}. Every"
        " group was all right or all wrong: choose easier or harder data, a larger"
        " batch.group_size, or filter=none."
    )
