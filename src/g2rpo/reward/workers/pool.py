"""Rewards in worker processes.

A completion whose judging raises, hangs or ends its worker is the only one that fails.
"""

import pickle
import signal
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any, Self

from g2rpo.interfaces import Reward
from g2rpo.launch import marks
from g2rpo.prompt import Failed, Prompt
from g2rpo.reward.workers.inline import score_each
from g2rpo.reward.workers.outcome import Outcome, together
from g2rpo.reward.workers.plain import plain_prompt
from g2rpo.reward.workers.worker import Chunk, Worker

CHUNK = range(4, 129)
"""Number of completions sent to a worker at once. Smaller chunks spend more time in the pipe than
in a cheap reward; after larger ones, workers finish far apart.
"""
TICK_S = 0.05
"""Polling interval in seconds while workers are busy."""

DEATH_S = 5.0
"""Maximum seconds to wait for the exit code of a worker whose pipe has closed."""


class RewardPool:
    """Starts worker processes for a reward.

    Args:
        workers: Number of worker processes per rank. Rewards do not depend on it.
        timeout_s: Wall-clock time limit for one completion, in seconds. A worker that takes longer
            is replaced. A group that is judged together has this time for each of its completions.
        failure_budget: Share of a batch, in [0, 1], that may end its worker. Beyond it, the rest of
            the batch is not judged, because a reward that always hangs would take `timeout_s` for
            every completion.
        memory_gib: Memory in GiB that a worker may allocate, at least 0.5; None for any amount. A
            completion whose judging needs more fails.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        timeout_s: float = 10.0,
        failure_budget: float = 0.0,
        memory_gib: float | None = 8.0,
    ) -> None:
        if workers < 1:
            raise ValueError(
                f"reward_workers.workers: expected at least 1 process, got {workers};"
                " reward_workers=inline uses none"
            )
        if not 0 < timeout_s < float("inf"):
            raise ValueError(
                f"reward_workers.timeout_s: expected a number of seconds above 0, got {timeout_s}"
            )
        if memory_gib is not None and not 0.5 <= memory_gib < float("inf"):
            raise ValueError(
                "reward_workers.memory_gib: expected at least 0.5 GiB, or null for any amount of"
                f" memory; got {memory_gib}"
            )
        self.workers = workers
        self.timeout_s = timeout_s
        self.failure_budget = failure_budget
        self.memory_gib = memory_gib

    def start(self, reward: Reward) -> "PooledReward":
        """Start the workers in the background.

        Raises:
            ValueError: the reward cannot be sent to another process.
        """
        try:
            if type(reward).__module__ == "__main__":
                raise TypeError("its class belongs to the script that was started")
            pickled = pickle.dumps(reward)
        except Exception as error:
            raise ValueError(
                f"reward: {type(reward).__name__} cannot be sent to a worker process"
                f" ({type(error).__name__}: {error}). Keep in it only what pickle can copy, define"
                " it in a module, or set reward_workers=inline."
            ) from error
        return PooledReward(
            reward,
            pickled,
            workers=self.workers,
            timeout_s=self.timeout_s,
            failure_budget=self.failure_budget,
            memory_gib=self.memory_gib,
        )


class PooledReward:
    """Reward whose `score` runs in worker processes.

    The workers end with the context, or with the trainer.
    """

    def __init__(
        self,
        reward: Reward,
        pickled: bytes,
        *,
        workers: int,
        timeout_s: float,
        failure_budget: float,
        memory_gib: float | None,
    ) -> None:
        self.reward = reward
        self.failure_budget = failure_budget
        self._pickled = pickled
        self._timeout_s = timeout_s
        self._memory_gib = memory_gib
        self._workers = [Worker(pickled, timeout_s, memory_gib) for _ in range(workers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Score one completion in a worker. Raises `RuntimeError` if it cannot be judged."""
        (outcome,) = self.score_all([completion], [prompt])
        if isinstance(outcome, Failed):
            raise RuntimeError(outcome.reason)
        return outcome

    def in_batch(self, prompt: Prompt) -> bool:
        """Return True: every completion goes to the workers."""
        return True

    def score_all(self, completions: Sequence[str], prompts: Sequence[Prompt]) -> list[Outcome]:
        """Return the reward's outcomes in the order of the completions."""
        allowed = self.failure_budget * len(prompts)
        return score_each(
            self.reward,
            completions,
            prompts,
            lambda texts, asked: self._in_workers(
                _Work(texts, asked, together(self.reward, asked), allowed)
            ),
        )

    def _in_workers(self, work: "_Work") -> list[Outcome]:
        for place, worker in enumerate(self._workers):
            if worker.rows:  # of an earlier call, which was interrupted
                self._replace(place, overdue=True)
        while not work.done:
            marks.drop_if_asked()
            self._hand_out(work)
            wait([worker.pipe.fileno() for worker in self._workers if not worker.idle], TICK_S)
            for place, worker in enumerate(self._workers):
                if not worker.idle:
                    self._take_in(work, place, worker)
            if work.ended > work.allowed:
                for place, worker in enumerate(self._workers):
                    if worker.rows:
                        self._replace(place, overdue=True)
                work.give_up()
        return work.in_order()

    def _hand_out(self, work: "_Work") -> None:
        for place, worker in enumerate(self._workers):
            if worker.idle and work.left:
                if not worker.received()[1]:  # it has died since the last batch
                    self._replace(place)
                else:
                    worker.send(work.chunk(len(self._workers)))

    def _take_in(self, work: "_Work", place: int, worker: Worker) -> None:
        """Record what a worker has judged, and replace a worker that is dead or overdue.

        Only the completion that such a worker was judging is lost.
        """
        judged, alive = worker.received()
        work.outcomes.update(judged)
        if alive and (worker.idle or time.monotonic() < worker.deadline):
            return
        started, rows = worker.started, list(worker.rows)
        reason = self._replace(place, overdue=alive)
        if not started:
            raise RuntimeError(
                f"reward: a worker process did not start ({reason}). With reward_workers=inline the"
                " reward runs in the trainer."
            )
        work.lose(rows, reason)

    def _replace(self, place: int, *, overdue: bool = False) -> str:
        """End a worker and start another in its place; return the reason."""
        code = self._workers[place].end(0.0 if overdue else DEATH_S)
        self._workers[place] = Worker(self._pickled, self._timeout_s, self._memory_gib)
        if overdue:
            return (
                f"TimeoutError: not judged within reward_workers.timeout_s={self._timeout_s:g}"
                " seconds"
            )
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"WorkerDied: the process that judged it ended, {how}"


class _Work:
    """A batch in progress.

    It holds the outcomes by row, the rows left to hand out, and how many rows have ended their
    worker. Rows that one call judges stay together.
    """

    def __init__(
        self,
        completions: list[str],
        prompts: list[Prompt],
        together: list[list[int]],
        allowed: float,
    ) -> None:
        sent = _sent(prompts)
        self.completions, self.prompts, self.allowed = completions, prompts, allowed
        self.sent = [sent[id(prompt)] for prompt in prompts]
        self.outcomes: dict[int, Outcome] = {
            row: found for row, found in enumerate(self.sent) if isinstance(found, Failed)
        }
        self.left = deque(rows for rows in together if rows[0] not in self.outcomes)
        self.ended = 0
        self.first_end = ""

    @property
    def done(self) -> bool:
        return len(self.outcomes) == len(self.prompts)

    def chunk(self, workers: int) -> Chunk:
        """Return the next rows.

        Chunks get shorter, so that the workers finish together.
        """
        num_left = sum(map(len, self.left))
        size = min(max(num_left // (2 * workers), CHUNK.start), CHUNK.stop - 1)
        found: Chunk = []
        taken = 0
        while self.left and taken < size:
            rows = self.left.popleft()
            taken += len(rows)
            sent = self.sent[rows[0]]
            assert not isinstance(sent, Failed)
            found.append((rows, [self.completions[row] for row in rows], sent))
        return found

    def lose(self, open_rows: list[list[int]], reason: str) -> None:
        """Mark what a worker was judging as failed, and put its other open rows back."""
        if not open_rows:
            return
        lost = open_rows[0]
        self.outcomes |= dict.fromkeys(lost, Failed(reason=reason))
        self.left.extendleft(reversed(open_rows[1:]))
        self.ended += len(lost)
        self.first_end = self.first_end or f"prompt {self.prompts[lost[0]].id!r}: {reason}"

    def give_up(self) -> None:
        for row in range(len(self.prompts)):
            self.outcomes.setdefault(
                row,
                Failed(
                    reason=(
                        "not judged, because too many others ended their worker, first"
                        f" {self.first_end}"
                    )
                ),
            )

    def in_order(self) -> list[Outcome]:
        return [self.outcomes[row] for row in range(len(self.prompts))]


def _sent(prompts: Sequence[Prompt]) -> dict[int, dict[str, Any] | Failed]:
    """Return every distinct prompt as plain values, by identity, or why it cannot be sent."""
    sent: dict[int, dict[str, Any] | Failed] = {}
    for prompt in prompts:
        if id(prompt) not in sent:
            try:
                sent[id(prompt)] = plain_prompt(prompt)
            except TypeError as error:  # the failure of this prompt's completions
                reason = f"TypeError: the prompt cannot be sent to a worker process: {error}"
                sent[id(prompt)] = Failed(reason=reason)
    return sent
