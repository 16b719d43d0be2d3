"""Completions that are written and scored while the trainer learns: `rollout.ahead=1` or `2`.

    main thread         submits draws, and takes their answers in the same order
    generating thread   asks the engine, one draw after the other
    scoring thread      judges every group when it arrives

The threads belong to one rank and take part in no collective operation. What the ranks decide
together (prompts, filter, number of draws) is decided by their main threads, when a batch is taken.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from queue import SimpleQueue
from random import Random
from typing import Any, Protocol, runtime_checkable

import torch

from g2rpo import ranks
from g2rpo.interfaces import Reward
from g2rpo.launch import marks
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.reward.workers.inline import score_each
from g2rpo.rollout.groups import Scored, scored_of, select_prompts
from g2rpo.rollout.in_flight import DrawInFlight, restore, saved

TICK_S = 0.2
"""Longest time in seconds until a wait for completions notices that a signal has come."""
Arrived = Callable[[int, Rollouts], None]
During = Callable[[str, str], AbstractContextManager[None]]
"""Records that somebody (`trainer`, `engine` or `reward`) does something during a block."""


@runtime_checkable
class AheadEngine(Protocol):
    """Additional methods of an engine that has its own devices and writes during updates."""

    ahead: int
    """Number of rollout batches that are written ahead; 0 writes each when it is needed."""
    max_staleness: int | None
    """Maximum number of updates between the weights that write a completion and those that learn
    from it; None for one rollout batch more than `ahead`.
    """

    def generate_ahead(
        self, batch: PromptBatch, sampling: Sampling, seed: int, arrived: Arrived
    ) -> None:
        """Write the completions of a batch and call `arrived` with each group when it is complete.

        It is called beside the main thread, which may call `generate` and `load_weights` at the
        same time. It takes part in no collective operation.

        Args:
            batch: Prompts of this rank.
            sampling: Sampling settings with the group size.
            seed: Seed of this draw.
            arrived: Takes the row of a prompt and its group, which has `weight_versions`. It may be
                called from any thread.
        """

    def stop_ahead(self) -> None:
        """Give up what `generate_ahead` still writes, because the run ends."""


def refuse_ahead(ahead: int, reason: str) -> None:
    """Refuse `rollout.ahead` for an engine that cannot write while the trainer learns.

    Args:
        ahead: The setting.
        reason: Why it cannot.

    Raises:
        ValueError: if `ahead` is not 0.
    """
    if ahead:
        raise ValueError(
            f"rollout.ahead: expected 0, because {reason}, got {ahead}; engines with devices of"
            " their own can write ahead: rollout=vllm_server"
        )


class LookAhead:
    """Keeps draws in flight and returns their answers in the order of the stream.

    Args:
        engine: Engine that writes during the updates.
        reward: Scores the completions.
        sampling: Sampling settings, with the default group size.
        failure_budget: Maximum share of completions that the reward may fail to judge, in [0, 1].
        seed: Seed of the run; with the number of a draw it determines the draw's seed.
        group_size_of: Group sizes of tasks that differ from the default.
        max_staleness: Groups with an older token, in updates, are asked again when they are taken.
        during: Records who worked when.
    """

    def __init__(
        self,
        engine: AheadEngine,
        reward: Reward,
        sampling: Sampling,
        *,
        failure_budget: float,
        seed: int,
        group_size_of: Mapping[str, int],
        max_staleness: int,
        during: During = lambda who, what: nullcontext(),
    ) -> None:
        self.engine, self.reward, self.sampling = engine, reward, sampling
        self.failure_budget, self.seed, self.group_size_of = failure_budget, seed, group_size_of
        self.max_staleness = max_staleness
        self.during = during
        self.step = 0
        """Number of updates so far."""
        self.num_asked_again = 0
        """Number of groups that were too old when they were taken, since the start."""
        self.scoring = threading.Lock()
        """Held while the reward scores; others that use the reward hold it, too."""
        self._in_flight: deque[DrawInFlight] = deque()
        self._submitted = 0
        self._restored: deque[Mapping[str, Any] | None] = deque()
        self._todo: SimpleQueue[DrawInFlight | None] = SimpleQueue()
        self._arrived: SimpleQueue[tuple[DrawInFlight, int, Rollouts | BaseException]] = (
            SimpleQueue()
        )
        self._threads: list[threading.Thread] = []
        self._closed = False

    def __len__(self) -> int:
        """Return the number of draws in flight."""
        return len(self._in_flight)

    def submit(self, batch: PromptBatch) -> None:
        """Ask for the completions of a batch, after those of all batches before it."""
        seed = Random(f"{self.seed}/sampling/draw {self._submitted}").getrandbits(48)  # noqa: S311
        self._submitted += 1
        draw = DrawInFlight(batch, seed)
        self._in_flight.append(draw)
        if self._restored and (answer := self._restored.popleft()) and answer["ids"] == draw.ids:
            restore(draw, answer)
            return
        self._start()
        self._todo.put(draw)

    def take(self, batch: PromptBatch) -> tuple[Rollouts, Scored]:
        """Return completions and scores of the oldest batch in flight, as soon as all are there.

        Groups that are too old are written again with the current weights first.

        Args:
            batch: The batch, to check the order.
        """
        draw = self._in_flight.popleft()
        assert draw.ids == [prompt.id for prompt in batch.prompts], "answers in another order"
        while not draw.done.done():
            marks.drop_if_asked()
            wait([draw.done], TICK_S)
        draw.done.result()
        if stale := draw.stale(self.step, self.max_staleness):
            again = DrawInFlight(select_prompts(batch, torch.tensor(stale)), draw.seed)
            self._start()
            with self.during("engine", "decode"):
                self._write(again)
            again.done.result()
            for place, row in enumerate(stale):
                draw.judged(row, again.groups[place], again.outcomes[place])
            self.num_asked_again += len(stale)
        rollouts = draw.rollouts
        asked = [batch.prompts[owner] for owner in rollouts.prompt.tolist()]
        outcomes = [outcome for row in sorted(draw.outcomes) for outcome in draw.outcomes[row]]
        return rollouts, scored_of(outcomes, asked, rollouts, self.failure_budget)

    def close(self) -> None:
        """Give up what is in flight and end the generating thread; nothing happens twice."""
        if self._closed or not self._threads:
            return
        self._closed = True
        self._todo.put(None)
        if not all(draw.done.done() for draw in self._in_flight):
            self.engine.stop_ahead()

    def state_dict(self) -> dict[str, Any]:
        """Return the number of the oldest draw, and the draws that are complete and scored.

        A draw with any group that is still written is asked again, as a whole and with its seed.
        """
        return {
            "first": self._submitted - len(self._in_flight),
            "answers": [saved(draw) for draw in self._in_flight],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the draws of `state_dict`, which have to be submitted again in their order."""
        self._submitted = state["first"]
        self._restored = deque(state["answers"])

    def _start(self) -> None:
        if not self._threads:
            self._threads = [
                threading.Thread(target=work, daemon=True) for work in (self._generate, self._score)
            ]
            for thread in self._threads:
                thread.start()

    def _generate(self) -> None:
        while (draw := self._todo.get()) is not None and not self._closed:
            try:
                with self.during("engine", "decode"):
                    self._write(draw)
            except BaseException as error:  # noqa: BLE001  raised where the draw is taken
                self._arrived.put((draw, -1, error))

    def _write(self, draw: DrawInFlight) -> None:
        """Ask the engine once for each group size."""
        sizes = [
            self.group_size_of.get(prompt.task, self.sampling.group_size)
            for prompt in draw.batch.prompts
        ]
        for size in sorted(set(sizes)):
            rows = [row for row, own in enumerate(sizes) if own == size]
            part = select_prompts(draw.batch, torch.tensor(rows))
            self.engine.generate_ahead(
                part,
                self.sampling.with_group_size(size),
                draw.seed,
                partial(self._take_in, draw, rows),
            )

    def _take_in(self, draw: DrawInFlight, rows: list[int], place: int, group: Rollouts) -> None:
        self._arrived.put((draw, rows[place], group))

    def _score(self) -> None:
        while True:
            found = [self._arrived.get()]
            while not self._arrived.empty():
                found.append(self._arrived.get())
            groups = []
            for draw, row, group in found:
                if isinstance(group, BaseException):
                    draw.fail(group)
                else:
                    groups.append((draw, row, group))
            try:
                self._judge(groups)
            except BaseException as error:  # noqa: BLE001  raised where the draw is taken
                for draw, _, _ in groups:
                    draw.fail(error)

    def _judge(self, groups: Sequence[tuple[DrawInFlight, int, Rollouts]]) -> None:
        """Score groups together that have arrived since the last call."""
        texts = [text for _, _, group in groups for text in group.texts]
        asked = [draw.batch.prompts[row] for draw, row, group in groups for _ in group.texts]
        if not texts:
            return
        with self.scoring, self.during("reward", "reward"):
            outcomes = iter(score_each(self.reward, texts, asked))
        for draw, row, group in groups:
            draw.judged(row, group, [next(outcomes) for _ in group.texts])


def saved_ahead(look_ahead: LookAhead | None) -> list[dict[str, Any]]:
    """Return the state of the draws in flight of all ranks, which all call it together."""
    return [] if look_ahead is None else ranks.all_gather_list([look_ahead.state_dict()])


def resume_ahead(look_ahead: LookAhead | None, states: list[dict[str, Any]]) -> None:
    """Go on with the draws in flight.

    With another number of ranks all are asked again, because prompts have changed ranks.
    """
    if look_ahead is None or not states:
        return
    same = len(states) == ranks.world_size()
    look_ahead.load_state_dict(
        states[ranks.rank()] if same else {"first": states[0]["first"], "answers": []}
    )
