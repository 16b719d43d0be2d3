"""The stream of prompts: task by mixture, prompt by source, resumed where it stopped."""

from collections.abc import Iterator
from random import Random
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, IterableDataset

from g2rpo import ranks
from g2rpo.data.mixture import TaskMix
from g2rpo.interfaces import Encoder, PromptSource
from g2rpo.records import Prompt, PromptBatch


class PromptStream:
    """Draws training prompts one after the other. Its whole state is how often each task was drawn.

    A finite task is gone through in a new random order each time it starts over; an endless one never repeats.
    """

    def __init__(self, *, source: PromptSource, mix: TaskMix, seed: int) -> None:
        self.source = source
        self.mix = mix
        self.seed = seed
        self.counts: dict[str, int] = {}
        self._order: dict[str, tuple[int, list[int]]] = {}
        for task in mix.shares:
            if source.size(task, "train") == 0:
                raise ValueError(f"task_mix: the data source has no training prompt for {task!r}; set task_mix.weights.{task}=0")

    def draw(self, num_prompts: int) -> list[Prompt]:
        """The next `num_prompts` prompts."""
        return [self._prompt(*self.mix.draw(self.counts)) for _ in range(num_prompts)]

    def _prompt(self, task: str, count: int) -> Prompt:
        size = self.source.size(task, "train")
        if size is None:
            return self.source.get(task, count, "train")
        epoch, place = divmod(count, size)
        return self.source.get(task, self._epoch_order(task, epoch, size)[place], "train")

    def _epoch_order(self, task: str, epoch: int, size: int) -> list[int]:
        """A function of its arguments and the seed; the last one is kept, since shuffling for every prompt would be slow."""
        if self._order.get(task, (-1, []))[0] != epoch:
            order = list(range(size))
            Random(f"{self.seed}/{task}/{epoch}").shuffle(order)  # noqa: S311
            self._order[task] = (epoch, order)
        return self._order[task][1]


class PromptDataModule(L.LightningDataModule):
    """One encoded batch of prompts a step. Online filtering draws further batches from the same stream during the step.

    Args:
        source: Where prompts come from.
        mix: How tasks are weighed.
        encoder: Prompts to model inputs.
        num_prompts: Prompts per step, of all ranks together.
        num_steps: Steps of the whole run; a resumed run draws the rest.
        seed: Of the order within finite tasks.
    """

    def __init__(self, *, source: PromptSource, mix: TaskMix, encoder: Encoder, num_prompts: int, num_steps: int, seed: int) -> None:
        super().__init__()
        if num_prompts < 1:
            raise ValueError(f"batch.prompts: expected at least 1 prompt per step, got {num_prompts}")
        if num_steps < 1:
            raise ValueError("trainer.max_steps: expected at least 1 update; python evaluate.py scores a model without training")
        self.stream = PromptStream(source=source, mix=mix, seed=seed)
        self.encoder = encoder
        self.num_prompts = num_prompts
        self.num_steps = num_steps

    def draw(self) -> PromptBatch:
        """This rank's share of the next batch of the stream: every rank walks the whole stream and encodes its own piece."""
        prompts = self.stream.draw(self.num_prompts)
        first, behind = (len(prompts) * rank // ranks.world_size() for rank in (ranks.rank(), ranks.rank() + 1))
        return self.encoder.encode(prompts[first:behind])

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        """Batches for the steps that are left. Nothing is fetched ahead: the filter decides how much a step draws."""
        if self.num_prompts < ranks.world_size():
            raise ValueError(f"batch.prompts={self.num_prompts}: expected at least one prompt for each of {ranks.world_size()} processes")
        return DataLoader(_Steps(self), batch_size=None)

    def state_dict(self) -> dict[str, Any]:
        """Draws per task."""
        return {"counts": dict(self.stream.counts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on behind the last draw that a checkpoint knows of."""
        self.stream.counts = dict(state_dict["counts"])


class _Steps(IterableDataset[PromptBatch]):
    """One draw a step. Its known length keeps Lightning from fetching a batch ahead of the step that uses it."""

    def __init__(self, data: PromptDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.num_steps

    def __iter__(self) -> Iterator[PromptBatch]:
        for _ in range(self.data.num_steps):
            yield self.data.draw()
