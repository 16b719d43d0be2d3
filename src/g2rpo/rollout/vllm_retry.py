"""Retries for engines that may die: lost prompts are requested again and counted."""

import logging
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.launch import marks
from g2rpo.rollout.vllm_requests import Answer

log = logging.getLogger("g2rpo")
TICK_S = 0.2
"""Longest time in seconds until a wait for completions notices that a signal has come."""
Lost = Sequence[tuple[Any, "EngineLost"]]
"""For each prompt without an answer: the engine that was asked, and its error."""


class EngineLost(Exception):
    """The engine died or timed out; retry after a restart."""


class EngineStats:
    """Metrics of an engine: the last weight sync, and the failures since the last `reduce`."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.num_regenerated = self.num_restarts = 0
        self.sync_logprob_gap = self.sync_s = 0.0

    def reduce(self) -> dict[str, float]:
        """Return the metrics over all ranks and reset them: sums of counts, maxima of the rest.

        Every rank must call it.
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
        self._reset()
        return dict(zip(names, map(float, counts + worst), strict=True))


def ask_concurrently(ask: Callable[[int], None], places: Sequence[int], num_threads: int) -> None:
    """Call `ask` for every place, in threads; a signal ends the wait for them.

    The threads are daemons, so that a run that ends does not wait for their requests.

    Raises:
        Exception: The first error of a call, when all threads have ended.
    """
    left: SimpleQueue[int] = SimpleQueue()
    for place in places:
        left.put(place)
    errors: list[Exception] = []

    def work() -> None:
        try:
            while not errors:
                ask(left.get_nowait())
        except Empty:
            return
        except Exception as error:  # noqa: BLE001  raised again below
            errors.append(error)

    threads = [Thread(target=work, daemon=True, name="prompts") for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            marks.drop_if_asked()
            thread.join(TICK_S)
    if errors:
        raise errors[0]


def ask_until_answered(
    num_requests: int,
    ask: Callable[[list[int], dict[int, Answer]], Lost],
    recover: Callable[[Lost], None],
    *,
    max_restarts: int,
) -> dict[int, Answer]:
    """Return the answer to every request by its index; only requests without an answer are retried.

    Args:
        num_requests: Number of requests.
        ask: Sends the requests of the given indices, stores answers as they arrive, and returns the
            losses.
        recover: Restarts the engines that were lost, with the current weights.
        max_restarts: Maximum number of retries.

    Raises:
        RuntimeError: A request still has no answer; the message holds the last error.
    """
    answers: dict[int, Answer] = {}
    for attempt in range(max_restarts + 1):
        lost = ask([place for place in range(num_requests) if place not in answers], answers)
        if not lost:
            return answers
        if attempt < max_restarts:
            log.warning(
                "%d of %d prompts are requested again: %s", len(lost), num_requests, lost[0][1]
            )
            recover(lost)
    error = lost[0][1]
    raise RuntimeError(
        f"rollout: {len(lost)} prompts got no answer in {max_restarts + 1} attempts. Last: {error}"
    ) from error
