"""Collect the groups of one step: generate, score, and replace groups without a learning signal.

A group whose completions are all right or all wrong has no advantage (DAPO, arXiv 2503.14476). The
filter sees the accuracy, not the shaped total: a length bonus must not make such a group look
informative.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import GroupFilter
from g2rpo.launch import marks
from g2rpo.records import PromptBatch, Rollouts, Scores
from g2rpo.rollout.draw import PER_DRAW
from g2rpo.rollout.groups import (
    Scored,
    cat_batches,
    cat_rollouts,
    cat_scores,
    group_means,
    select_groups,
    select_prompts,
)
from g2rpo.rollout.kept_share import KeptShare, prompts_needed

MOST_AT_ONCE = 1.5
"""Maximum number of prompts of the first call of the engine, as a multiple of the first draw, to
bound its memory.
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


Answer = Callable[[PromptBatch], tuple[Rollouts, Scored]]
"""Returns completions of a batch and their scores."""


def _do_nothing() -> None:
    """Leave the last draw as it is."""


def collect(
    first: PromptBatch,
    more: Callable[[Mapping[str, int]], PromptBatch],
    answer: Answer,
    *,
    group_filter: GroupFilter,
    keep_shares: bool = False,
    kept_share: KeptShare | None = None,
    put_back: Callable[[], None] = _do_nothing,
) -> Collected:
    """Answer, score and filter until all ranks together have as many groups as first prompts.

    Groups are taken in the order of the stream (draw, rank, row), so the selection does not depend
    on the number of ranks. A rank may get more groups than another, or none. If no group is kept
    in `max_draws` draws, all groups of the last draw are used (`Collected.empty`): they have no
    advantage, but the step still has metrics.

    With `kept_share`, only the first prompts of a further draw are answered, as many as the missing
    groups need. The second draw is answered together with the first one if its prompts will
    presumably be needed. The groups are the same: the prompts that stay unanswered are the last
    ones of a draw, and if the first draw was enough, the second one is put back.

    Args:
        first: This rank's first batch.
        more: Returns this rank's next batch; with `keep_shares` it gets what each task lacks.
        answer: Returns the completions of a batch with their scores, now or from what was written
            ahead.
        group_filter: Decides which groups are kept.
        keep_shares: Whether no task gets more groups than it has first prompts. The step has fewer
            groups if some tasks lack some after `max_draws` draws.
        kept_share: Expected share of kept groups, which is updated; None answers whole draws.
            Requires a single rank, and not `keep_shares`.
        put_back: Lets the next call of `more`, or the next step, get the last batch again.
    """
    tasks = ranks.all_gather_list([prompt.task for prompt in first.prompts])
    taken = _Taken(wanted=len(tasks), missing=Counter(tasks) if keep_shares else None)
    drawn, kept = Counter[str](), Counter[str]()
    accuracies: dict[str, float] = {}
    rest: PromptBatch | None = first
    draws, num = 1, None
    answered: list[tuple[PromptBatch, Rollouts, Scored]] = []
    needed = kept_share.prompts_needed(taken.room) if kept_share else None
    two_at_once = group_filter.max_draws > 1 and needed is not None and needed > len(first.prompts)
    if two_at_once:
        rest, draws = cat_batches([first, _of_draw(1, more({}))]), 2
        num = min(needed or 0, int(MOST_AT_ONCE * len(first.prompts)))
    while rest:
        batch, rest = _cut(rest, num)
        marks.work_on(prompt.task for prompt in batch.prompts)
        with ranks.dropping_together():
            rollouts, scored = answer(batch)
        accuracy = group_means(scored.scores.accuracy, rollouts.prompt, len(batch.prompts))
        keep = group_filter.keeps(accuracy)
        own = [
            (prompt.id, prompt.task, mean, used)
            for prompt, mean, used in zip(
                batch.prompts, accuracy.tolist(), keep.tolist(), strict=True
            )
        ]
        if two_at_once and int(keep[: len(first.prompts)].sum()) == taken.wanted:
            put_back()
            own, draws = own[: len(first.prompts)], 1
        two_at_once = False
        for id, task, mean, used in ranks.all_gather_list(own):
            accuracies[id] = mean
            drawn[task] += 1
            kept[task] += used
        taken.add(batch, rollouts, scored, keep)
        answered = [*answered[-1:], (batch, rollouts, scored)]
        if not taken.room:
            break
        if rest is None and draws < group_filter.max_draws:
            rest = _of_draw(draws, more(taken.missing or {}))
            draws += 1
        share = kept.total() / drawn.total()
        num = prompts_needed(taken.room, share) if kept_share and share else None
    empty = not kept.total()
    if empty:
        taken.replace_by(answered, len(first.prompts))
    if kept_share:
        kept_share.add(kept.total(), drawn.total())
    return taken.collected(draws=draws, drawn=drawn, kept=kept, accuracies=accuracies, empty=empty)


def _of_draw(draw: int, batch: PromptBatch) -> PromptBatch:
    """Return a batch with positions that no other draw of the step has."""
    return replace(batch, position=batch.position + draw * PER_DRAW)


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

    def replace_by(
        self, answered: Sequence[tuple[PromptBatch, Rollouts, Scored]], num: int
    ) -> None:
        """Take the last `num` groups of this rank in place of those taken so far."""
        self.parts = []
        for batch, rollouts, scored in reversed(answered):
            size = len(batch.prompts)
            rows = torch.arange(max(0, size - num), size, device=batch.input_ids.device)
            self.parts.insert(0, select_groups(batch, rollouts, scored.scores, scored.failed, rows))
            num -= len(rows)
        counts = ranks.all_gather_list([sum(len(part[0].prompts) for part in self.parts)])
        self.room = self.wanted - sum(counts)
        rank = ranks.rank()
        self.places = list(range(sum(counts[:rank]), sum(counts[: rank + 1])))

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
