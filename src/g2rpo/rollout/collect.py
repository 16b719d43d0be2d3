"""Collect the groups of one step: generate, score, and replace groups without a learning signal.

A group whose completions are all right or all wrong has no advantage (DAPO, arXiv 2503.14476). The
filter sees the accuracy, not the shaped total: a length bonus must not make such a group look
informative.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import GroupFilter
from g2rpo.launch import marks
from g2rpo.records import PromptBatch, Rollouts
from g2rpo.rollout.draw import PER_DRAW
from g2rpo.rollout.groups import (
    Scored,
    cat_batches,
    group_means,
    select_prompts,
)
from g2rpo.rollout.kept_groups import Collected, KeptShare, Taken, prompts_needed

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

    With `kept_share`, only as many prompts of a further draw are answered as the missing groups
    need, and those of the second draw together with the first one. The groups are the same: if the
    first draw was enough, the second one is put back.

    Args:
        first: This rank's first batch.
        more: Returns this rank's next batch; with `keep_shares` it gets what each task lacks.
        answer: Returns completions with their scores, now or from what was written ahead.
        group_filter: Decides which groups are kept.
        keep_shares: Whether no task gets more groups than it has first prompts. The step has fewer
            groups if some tasks lack some after `max_draws` draws.
        kept_share: Expected share of kept groups, which is updated; None answers whole draws.
            Requires a single rank, and not `keep_shares`.
        put_back: Lets the next call of `more`, or the next step, get the last batch again.
    """
    tasks = ranks.all_gather_list([prompt.task for prompt in first.prompts])
    taken = Taken(wanted=len(tasks), missing=Counter(tasks) if keep_shares else None)
    needed = kept_share.prompts_needed(taken.room) if kept_share else None
    rest, num, draws = _first_call(first, more, needed, group_filter.max_draws)
    two_at_once, size = draws == 2, len(first.prompts)
    while rest:
        batch, rest = _cut(rest, num)
        marks.work_on(prompt.task for prompt in batch.prompts)
        with ranks.dropping_together():
            rollouts, scored = answer(batch)
        accuracy = group_means(scored.scores.accuracy, rollouts.prompt, len(batch.prompts))
        keep = group_filter.keeps(accuracy)
        enough = two_at_once and int(keep[:size].sum()) == taken.wanted
        if enough:
            put_back()
            draws = 1
        two_at_once = False
        taken.count(batch, accuracy, keep, size if enough else len(batch.prompts))
        taken.add(batch, rollouts, scored, keep)
        if not taken.room:
            break
        if rest is None and draws < group_filter.max_draws:
            rest = _of_draw(draws, more(taken.missing or {}))
            draws += 1
        num = prompts_needed(taken.room, taken.share) if kept_share and taken.share else None
    if kept_share:
        kept_share.add(taken.share)
    return taken.collected(draws, size)


def _first_call(
    first: PromptBatch,
    more: Callable[[Mapping[str, int]], PromptBatch],
    needed: int | None,
    max_draws: int,
) -> tuple[PromptBatch | None, int | None, int]:
    """Return the prompts of one draw, or of two if more will presumably be needed; how many of them
    to answer first, None for all; and the number of draws.
    """
    size = len(first.prompts)
    if max_draws == 1 or needed is None or needed <= size:
        return first, None, 1
    both = cat_batches([first, _of_draw(1, more({}))])
    return both, min(needed, int(MOST_AT_ONCE * size)), 2


def _of_draw(draw: int, batch: PromptBatch) -> PromptBatch:
    """Return a batch with positions that no other draw of the step has."""
    return replace(batch, position=batch.position + draw * PER_DRAW)


def _cut(batch: PromptBatch, num: int | None) -> tuple[PromptBatch, PromptBatch | None]:
    """Return the first prompts of a batch, and the others if there are any."""
    if num is None or num >= len(batch.prompts):
        return batch, None
    rows = torch.arange(len(batch.prompts), device=batch.input_ids.device)
    return select_prompts(batch, rows[:num]), select_prompts(batch, rows[num:])


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
