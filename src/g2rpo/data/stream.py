"""The order of training prompts: task by mixture, prompt by epoch, resumed where it stopped."""

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

from g2rpo.data.mixture import TaskMix, train_sizes
from g2rpo.interfaces import Curriculum, PromptSource
from g2rpo.records import Prompt


class Turn(NamedTuple):
    """A prompt by task and index, and the epoch in which it is served."""

    task: str
    index: int
    epoch: int


class PromptStream:
    """Draws training prompts one after the other.

    The state is the number of turns of each task and the position within it. A finite task gets a
    new random order in each epoch; an endless one never repeats.

    Args:
        source: Supplies the prompts.
        mix: Weights of the tasks.
        seed: Seeds the order of prompts within finite tasks.
        curriculum: Decides which prompts are skipped; None serves all of them.
    """

    def __init__(
        self, *, source: PromptSource, mix: TaskMix, seed: int, curriculum: Curriculum | None = None
    ) -> None:
        sizes = train_sizes(source, mix)
        self.source = source
        self.mix = mix.present(sizes).sized(sizes)
        self.seed = seed
        self.curriculum = curriculum or EveryPrompt()
        if self.curriculum.revisits and None in {sizes[task] for task in self.mix.shares}:
            raise ValueError(
                "curriculum: this data source never runs out, so no prompt comes a second time;"
                " choose curriculum=none"
            )
        self.counts: dict[str, int] = {}
        """Number of turns of each task."""
        self.places: dict[str, int] = {}
        """Position in each task over all epochs, counting skipped prompts."""
        self._sizes = {task: sizes[task] for task in self.mix.shares}
        self._order: dict[str, tuple[int, list[int]]] = {}
        self._in_flight: dict[str, Turn] = {}

    def draw(self, num_prompts: int) -> list[Prompt]:
        """Return the next `num_prompts` prompts."""
        turns = [self._next(self.mix.draw(self.counts)[0], self.places) for _ in range(num_prompts)]
        return [self._served(turn) for turn in turns]

    def next_of(self, task: str) -> Prompt:
        """Return the next prompt of a task, to replace one that could not be used."""
        return self._served(self._next(task, self.places))

    def peek(self, num_prompts: int) -> list[Prompt]:
        """Return what `draw` will return, unless earlier prompts have to be replaced."""
        counts, places = dict(self.counts), dict(self.places)
        turns = [self._next(self.mix.draw(counts)[0], places) for _ in range(num_prompts)]
        return [self.source.get(turn.task, turn.index, "train") for turn in turns]

    def observe(self, accuracies: Mapping[str, float]) -> None:
        """Pass the mean accuracy of each group, by prompt id, on to the curriculum."""
        for id, accuracy in accuracies.items():
            if turn := self._in_flight.pop(id, None):
                self.curriculum.observe(*turn, accuracy)

    def turn_of(self, prompt: Prompt) -> Turn:
        """Return the turn of a prompt that was served and not observed yet."""
        return self._in_flight[prompt.id]

    def again(self, turn: Turn) -> Prompt:
        """Serve a prompt that was drawn before the saved state, and not observed."""
        return self._served(turn)

    def forget(self, prompt: Prompt) -> None:
        """Take back a prompt that could not be used: it will not be observed."""
        self._in_flight.pop(prompt.id, None)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last draw, without the prompts that are in flight."""
        return {
            "counts": dict(self.counts),
            "places": dict(self.places),
            "curriculum": self.curriculum.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the last draw of the saved state."""
        self.counts, self.places = dict(state["counts"]), dict(state["places"])
        self.curriculum.load_state_dict(state["curriculum"])

    def _served(self, turn: Turn) -> Prompt:
        prompt = self.source.get(turn.task, turn.index, "train")
        self._in_flight[prompt.id] = turn
        return prompt

    def _next(self, task: str, places: dict[str, int]) -> Turn:
        """Return the next turn that the curriculum admits; the last one if it admits none."""
        size = self._sizes[task]
        for _ in range(size or 1):
            place = places.get(task, 0)
            places[task] = place + 1
            epoch, rank = (0, place) if size is None else divmod(place, size)
            turn = Turn(
                task, rank if size is None else self._epoch_order(task, epoch, size)[rank], epoch
            )
            if self.curriculum.admits(*turn):
                break
        return turn

    def _epoch_order(self, task: str, epoch: int, size: int) -> list[int]:
        """Return the order of an epoch; it is cached, because shuffling is slow."""
        if self._order.get(task, (-1, []))[0] != epoch:
            order = list(range(size))
            Random(f"{self.seed}/{task}/{epoch}").shuffle(order)  # noqa: S311
            self._order[task] = (epoch, order)
        return self._order[task][1]


class EveryPrompt:
    """`curriculum=none`: every prompt is served once an epoch."""

    revisits = False

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """Return True."""
        return True

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """Do nothing: there is no state."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing: there is no state."""
