"""What both ways of running an engine outside of this process share: a prompt whose answer is lost
is asked again, and that is counted.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.rollout.vllm_requests import Answer

log = logging.getLogger("g2rpo")
Lost = Sequence[tuple[Any, "EngineLost"]]
"""One entry per prompt without an answer: who was asked, and what went wrong."""


class EngineLost(Exception):
    """The engine did not answer, or not in time: worth asking again once it is well."""


class Tally:
    """What a step's row says about an engine: the last sync, and what failed since the row
    before.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.num_regenerated = self.num_restarts = 0
        self.sync_logprob_gap = self.sync_s = 0.0

    def row(self) -> dict[str, float]:
        """Counts are added up over ranks, of gap and seconds the largest is taken. Every rank calls
        it; counting starts again.
        """
        counts = ranks.all_reduce_sum(
            torch.tensor([self.num_regenerated, self.num_restarts])
        ).tolist()
        worst = ranks.all_reduce_max(torch.tensor([self.sync_logprob_gap, self.sync_s])).tolist()
        names = (
            "rollout/num_regenerated",
            "rollout/num_restarts",
            "rollout/sync_logprob_gap",
            "time/sync_s",
        )
        self._start()
        return dict(zip(names, map(float, counts + worst), strict=True))


def ask_until_answered(
    num_requests: int,
    ask: Callable[[list[int], dict[int, Answer]], Lost],
    recover: Callable[[Lost], None],
    *,
    max_restarts: int,
) -> dict[int, Answer]:
    """The answer of every request, by its place. What was answered is not asked again; the same
    seed gives the same completions.

    Args:
        num_requests: Places are 0 to `num_requests - 1`.
        ask: Asks the given places, writes answers down as they come, and returns what was lost.
        recover: Brings those who were lost back, with the current weights.
        max_restarts: Times that is tried.

    Raises:
        RuntimeError: with the last failure, when there is still no answer.
    """
    answers: dict[int, Answer] = {}
    for attempt in range(max_restarts + 1):
        lost = ask([place for place in range(num_requests) if place not in answers], answers)
        if not lost:
            return answers
        if attempt < max_restarts:
            log.warning("%d of %d prompts are asked again: %s", len(lost), num_requests, lost[0][1])
            recover(lost)
    error = lost[0][1]
    raise RuntimeError(
        f"rollout: {len(lost)} prompts got no answer in {max_restarts + 1} attempts. Last: {error}"
    ) from error
