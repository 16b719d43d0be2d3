"""The stream of prompts: task by mixture, prompt by source, resumed where it stopped."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, IterableDataset

from g2rpo import ranks
from g2rpo.data.loading import Loading, place
from g2rpo.data.mixture import TaskMix
from g2rpo.data.rows import BadRecord
from g2rpo.interfaces import Encoder, PromptSource
from g2rpo.records import Prompt, PromptBatch
from g2rpo.stopwatch import stage

MOST_REPLACEMENTS = 20
"""Rounds in which a batch is mended before the run stops: then it is not a record that is broken but `data.root`."""


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

    def next_of(self, task: str) -> Prompt:
        """The next prompt of a task, out of turn: it takes the place of one that could not be used."""
        count = self.counts.get(task, 0)
        self.counts[task] = count + 1
        return self._prompt(task, count)

    def peek(self, num_prompts: int) -> list[Prompt]:
        """What `draw` would return, without drawing it."""
        counts = dict(self.counts)
        return [self._prompt(*self.mix.draw(counts)) for _ in range(num_prompts)]

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
        # a source that reads files says how; one that draws its images has no need to
        self.loading: Loading = getattr(source, "loading", None) or Loading(workers=0)
        self.encoder = encoder
        self.num_prompts = num_prompts
        self.num_steps = num_steps

    @stage("data")
    def draw(self) -> PromptBatch:
        """This rank's share of the next batch of the stream: every rank walks the whole stream and encodes its own piece.

        A prompt that cannot be used is replaced by the next one of its task, on all ranks alike, and reported to the source, which
        counts it or raises.
        """
        prompts, ready = self.stream.draw(self.num_prompts), {}
        for _ in range(MOST_REPLACEMENTS):
            own = self._own(prompts)
            batch, unusable = self._encoded(own, ready)
            unusable = dict(ranks.listed(list(unusable.items())))
            if batch is not None and not unusable:
                self.loading.ahead(self._own(self.stream.peek(self.num_prompts)))
                return replace(batch, prompts=tuple(own))  # the paths again, not the images: those are patches now
            for prompt in prompts:
                if prompt.id in unusable:
                    self._report(prompt.task, unusable[prompt.id])
            prompts = [self.stream.next_of(prompt.task) if prompt.id in unusable else prompt for prompt in prompts]
        raise ValueError(f"data: {MOST_REPLACEMENTS} prompts in a row could not be used. Last: {next(iter(unusable.values()))}")

    def _own(self, prompts: list[Prompt]) -> list[Prompt]:
        first, behind = (len(prompts) * rank // ranks.world_size() for rank in (ranks.rank(), ranks.rank() + 1))
        return prompts[first:behind]

    def _encoded(self, prompts: list[Prompt], ready: dict[str, Prompt]) -> tuple[PromptBatch | None, dict[str, str]]:
        """The batch of those that can be used, and what is wrong with the others, by id; `ready` keeps decoded images between calls."""
        missing = [prompt for prompt in prompts if prompt.id not in ready]
        found = dict(zip((prompt.id for prompt in missing), self.loading.loaded(missing), strict=True))
        unusable = {id: str(prompt) for id, prompt in found.items() if isinstance(prompt, BadRecord)}
        ready |= {id: prompt for id, prompt in found.items() if isinstance(prompt, Prompt)}
        usable = [ready[prompt.id] for prompt in prompts if prompt.id in ready]
        if not usable:
            return None, unusable
        batch = self.encoder.encode(usable)
        most, lengths = self.loading.max_prompt_tokens, batch.attention_mask.sum(1).tolist()
        for prompt, tokens in zip(batch.prompts, lengths, strict=True):
            if most is not None and tokens > most:
                unusable[prompt.id] = f"{place(prompt)}: {tokens} tokens are more than data.loading.max_prompt_tokens={most}"
        return batch, unusable

    def _report(self, task: str, reason: str) -> None:
        if not hasattr(self.stream.source, "skip"):
            raise BadRecord(reason)
        self.stream.source.skip(task, reason)

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        """Batches for the steps that are left. Nothing is fetched ahead: the filter decides how much a step draws."""
        if self.num_prompts < ranks.world_size():
            raise ValueError(f"batch.prompts={self.num_prompts}: expected at least one prompt for each of {ranks.world_size()} processes")
        return DataLoader(_Steps(self), batch_size=None)

    def state_dict(self) -> dict[str, Any]:
        """Draws per task."""
        return {"counts": dict(self.stream.counts)}

    def teardown(self, stage: str) -> None:
        """Ends the threads that read images."""
        self.loading.close()

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
