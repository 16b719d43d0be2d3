"""The groups that a step learns from, and how many prompts it must answer until it has them.

A step lasts as long as its longest completions, once for every call of the engine. So a few prompts
more in one call take less time than another call.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.records import PromptBatch, Rollouts, Scores
from g2rpo.rollout.groups import Scored, cat_batches, cat_rollouts, cat_scores, select_groups

DEVIATIONS = 2
"""Safety margin, in standard deviations of the number of kept groups."""
WEIGHT = 0.3
"""Weight of the latest step in the moving average, in (0, 1]."""


class KeptShare:
    """Share of groups that the filter keeps: a moving average over steps.

    It decides how much is answered at once, not which groups a step learns from.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        """A number in [0, 1]; None before the first step."""

    def add(self, latest: float) -> None:
        """Take the share of a step into account."""
        self.share = latest if self.share is None else (1 - WEIGHT) * self.share + WEIGHT * latest

    def prompts_needed(self, groups: int) -> int | None:
        """Return the number of prompts for a number of kept groups; None if it is unknown."""
        return prompts_needed(groups, self.share) if self.share else None


def prompts_needed(groups: int, share: float) -> int:
    """Return the number of prompts that almost surely yields a number of kept groups.

    If the filter keeps a share p of the groups, n prompts yield n p kept groups on average, with a
    variance of n p (1 - p).

    Args:
        groups: Number of groups that have to be kept.
        share: Share of groups that the filter keeps, in (0, 1].
    """
    spread = DEVIATIONS / 2 * math.sqrt(1 - share)
    return math.ceil((spread + math.sqrt(spread**2 + groups)) ** 2 / share)


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


class Taken:
    """Groups that this rank has taken so far, and statistics over all ranks.

    Args:
        wanted: Number of groups that all ranks want together.
        missing: The same by task; None if any task may fill any place.
    """

    def __init__(self, wanted: int, missing: Counter[str] | None) -> None:
        self.wanted = self.room = wanted
        self.missing = missing
        self.places: list[int] = []
        self.parts: list[tuple[PromptBatch, Rollouts, Scores, Bool[Tensor, " b"]]] = []
        self.drawn, self.kept = Counter[str](), Counter[str]()
        self.accuracies: dict[str, float] = {}
        self._last: list[tuple[PromptBatch, Rollouts, Scored]] = []
        """The last two batches, in case that no group is kept."""

    @property
    def share(self) -> float:
        """Share of the counted groups that the filter kept."""
        return self.kept.total() / self.drawn.total()

    def count(
        self,
        batch: PromptBatch,
        accuracy: Float[Tensor, " p"],
        keep: Bool[Tensor, " p"],
        num: int,
    ) -> None:
        """Add the first `num` groups of a batch to the statistics."""
        rows = zip(batch.prompts, accuracy.tolist(), keep.tolist(), strict=True)
        own = [(prompt.id, prompt.task, mean, used) for prompt, mean, used in rows][:num]
        for id, task, mean, used in ranks.all_gather_list(own):
            self.accuracies[id] = mean
            self.drawn[task] += 1
            self.kept[task] += used

    def add(
        self, batch: PromptBatch, rollouts: Rollouts, scored: Scored, keep: Bool[Tensor, " p"]
    ) -> None:
        """Take kept groups of a draw, lower ranks first, until all ranks have enough together."""
        self._last = [*self._last[-1:], (batch, rollouts, scored)]
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

    def collected(self, draws: int, size: int) -> Collected:
        """Return the groups, joined; the last `size` of this rank if none was kept.

        Args:
            draws: Number of batches that each rank drew.
            size: Number of prompts of this rank in a draw.
        """
        empty = not self.kept.total()
        if empty:
            self._take_last(size)
        filled = [part for part in self.parts if part[0].prompts] or self.parts[:1]
        batches, rollouts, scores, failed = zip(*filled, strict=True)
        return Collected(
            batch=cat_batches(batches),
            rollouts=cat_rollouts(rollouts),
            scores=cat_scores(scores),
            failed=torch.cat(failed),
            places=self.places,
            num_groups=self.wanted - self.room,
            draws=draws,
            drawn=self.drawn,
            kept=self.kept,
            accuracies=self.accuracies,
            empty=empty,
        )

    def _take_last(self, num: int) -> None:
        """Take the last `num` groups of this rank, although the filter kept none."""
        self.parts = []
        for batch, rollouts, scored in reversed(self._last):
            size = len(batch.prompts)
            rows = torch.arange(max(0, size - num), size, device=batch.input_ids.device)
            self.parts.insert(0, select_groups(batch, rollouts, scored.scores, scored.failed, rows))
            num -= len(rows)
        counts = ranks.all_gather_list([sum(len(part[0].prompts) for part in self.parts)])
        self.room = self.wanted - sum(counts)
        rank = ranks.rank()
        self.places = list(range(sum(counts[:rank]), sum(counts[: rank + 1])))
