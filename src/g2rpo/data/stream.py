"""The order of training prompts: task by mixture, prompt by epoch, resumed where it stopped."""

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

from g2rpo.data.mixture import TaskMix, train_sizes
from g2rpo.interfaces import Curriculum, PromptSource, TaskCurriculum
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
        self.by_task = self.curriculum if isinstance(self.curriculum, TaskCurriculum) else None
        """The curriculum if it decides how often each task is drawn."""
        if self.by_task is not None:
            self.by_task.begin(self.mix.shares)
        self.counts: dict[str, int] = {}
        """Number of turns of each task."""
        self.behind = dict.fromkeys(self.mix.shares, 0.0)
        """Turns that each task lacks of its share, if the curriculum decides about shares."""
        self.places: dict[str, int] = {}
        """Position in each task over all epochs, counting skipped prompts."""
        self._sizes = {task: sizes[task] for task in self.mix.shares}
        self._order: dict[str, tuple[int, list[int]]] = {}
        self._in_flight: dict[str, Turn] = {}

    def draw(self, num_prompts: int, missing: Mapping[str, int] | None = None) -> list[Prompt]:
        """Return the next `num_prompts` prompts.

        Args:
            num_prompts: Number of prompts.
            missing: Number of groups that a step still lacks by task; the prompts are of these
                tasks, in proportion. None or nothing: as the mixture or the curriculum says.
        """
        tasks = self._tasks(num_prompts, self.counts, self.behind, missing)
        return [self._served(self._next(task, self.places)) for task in tasks]

    def next_of(self, task: str) -> Prompt:
        """Return the next prompt of a task, to replace one that could not be used."""
        return self._served(self._next(task, self.places))

    def peek(self, num_prompts: int) -> list[Prompt]:
        """Return what `draw` will return, unless earlier prompts have to be replaced."""
        places = dict(self.places)
        tasks = self._tasks(num_prompts, dict(self.counts), dict(self.behind))
        turns = [self._next(task, places) for task in tasks]
        return [self.source.get(turn.task, turn.index, "train") for turn in turns]

    def observe(self, accuracies: Mapping[str, float]) -> None:
        """Pass the mean accuracy of each group, by prompt id, on to the curriculum."""
        for id, accuracy in accuracies.items():
            if turn := self._in_flight.pop(id, None):
                self.curriculum.observe(*turn, accuracy)
        if self.by_task is not None:
            self.by_task.rebalance()

    def metrics(self) -> dict[str, float]:
        """Return the shares of the next draw, if the curriculum decides about them."""
        shares = {} if self.by_task is None else self.by_task.shares()
        return {f"curriculum/share/{task}": share for task, share in shares.items()}

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
            "behind": dict(self.behind),
            "curriculum": self.curriculum.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the last draw of the saved state."""
        self.counts, self.places = dict(state["counts"]), dict(state["places"])
        self.behind = dict(state.get("behind", self.behind))
        self.curriculum.load_state_dict(state["curriculum"])

    def _tasks(
        self,
        count: int,
        counts: dict[str, int],
        behind: dict[str, float],
        missing: Mapping[str, int] | None = None,
    ) -> list[str]:
        """Return the tasks of the next turns; `counts` and `behind` are updated in place."""
        wanted = {task: lacks for task, lacks in (missing or {}).items() if lacks > 0}
        if self.by_task is None:
            return [self.mix.draw(counts)[0] for _ in range(count)]
        shares = {task: lacks / sum(wanted.values()) for task, lacks in wanted.items()}
        behind = dict.fromkeys(wanted, 0.0) if wanted else behind
        turns = []
        for _ in range(count):
            for task, share in (shares or self.by_task.shares()).items():
                behind[task] += share
            turns.append(max(behind, key=behind.__getitem__))
            behind[turns[-1]] -= 1
        return turns

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
