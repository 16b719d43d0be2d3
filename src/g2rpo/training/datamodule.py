"""The data module: draws prompts from the stream, loads their images and encodes them.

Checkpoints contain the state of the stream.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, IterableDataset

from g2rpo import ranks
from g2rpo.data.loading import loading_of, place, reader
from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import skips_of
from g2rpo.data.stream import PromptStream, Turn
from g2rpo.interfaces import Encoder
from g2rpo.paths import command
from g2rpo.records import Prompt, PromptBatch
from g2rpo.stopwatch import timed
from g2rpo.training.heldout import HeldoutBatch, HeldoutEvaluation
from g2rpo.training.resume import refuse_lost_state, refuse_other_tasks

MOST_REPLACEMENTS = 20
"""Most replacements of unusable prompts in a batch; if more fail, `data.root` is probably wrong."""
Trouble = dict[str, tuple[str, str]]
"""Kind (`unusable` or `too_long`) and reason of each refused prompt, by prompt id."""


class PromptDataModule(L.LightningDataModule):
    """Provides one encoded batch of prompts per rollout batch.

    Online filtering draws further batches from the same stream during the step.

    Args:
        stream: Yields the prompts in their order.
        encoder: Turns prompts into model inputs.
        num_prompts: Prompts per rollout batch, over all ranks.
        num_steps: Number of rollout batches of the whole run; a resumed run draws the rest.
        heldout: Chooses the prompts of a validation; None if there is no validation.
    """

    def __init__(
        self,
        *,
        stream: PromptStream,
        encoder: Encoder,
        num_prompts: int,
        num_steps: int,
        heldout: HeldoutEvaluation | None = None,
    ) -> None:
        super().__init__()
        if num_prompts < 1:
            raise ValueError(
                f"batch.prompts_per_step: expected at least 1 prompt per step, got {num_prompts}"
            )
        if num_steps < 1:
            raise ValueError(
                "trainer.max_steps: expected at least 1 update;"
                f" {command('evaluate')} scores a model without training"
            )
        self.stream, self.encoder, self.heldout = stream, encoder, heldout
        self.loading, self.skips = loading_of(stream.source), skips_of(stream.source)
        self.num_prompts, self.num_steps = num_prompts, num_steps
        self.reserved: deque[Draw] = deque()
        """Draws that are in flight: asked ahead of the step that learns from them, or put back."""

    def draw(self, missing: Mapping[str, int] | None = None) -> PromptBatch:
        """Return this rank's share of the next batch: the oldest reserved one, or a new draw, of
        the tasks of which groups are `missing` if a curriculum decides about tasks.

        Raises `ValueError` if no batch can be filled.
        """
        if not self.reserved:
            self.reserved.append(self._filled(self.stream.draw(self.num_prompts, missing)))
        self._last = self.reserved.popleft()
        return self._last.batch

    def put_back(self) -> None:
        """Let the next `draw` return the last batch again."""
        self.reserved.appendleft(self._last)

    def reserve(self) -> None:
        """Draw a batch for a later `draw`; it is in flight until then."""
        self.reserved.append(self._filled(self.stream.draw(self.num_prompts)))

    @timed("data")
    def _filled(self, prompts: list[Prompt]) -> "Draw":
        """Encode this rank's share of a draw.

        Every rank walks the whole stream. An unusable prompt is counted and replaced by the next
        one of its task on all ranks, or it stops the run, as `data.on_error` says.
        """
        ready = dict[str, Prompt]()
        for _ in range(MOST_REPLACEMENTS):
            own = self._own(prompts)
            batch, trouble = self._encoded(own, ready)
            trouble = dict(ranks.all_gather_list(list(trouble.items())))
            if not trouble:
                self._look_ahead()
                # keep paths instead of images: the images are patches now
                position = torch.arange(len(prompts))[_share(len(prompts))]
                return Draw(
                    turns=[self.stream.turn_of(prompt) for prompt in prompts],
                    batch=replace(batch, prompts=tuple(own), position=position),
                )
            self._report(prompts, trouble)
            prompts = [
                self.stream.next_of(prompt.task) if prompt.id in trouble else prompt
                for prompt in prompts
            ]
        raise ValueError(
            "data: expected usable prompts, but a batch could not be filled in"
            f" {MOST_REPLACEMENTS} attempts; check data.root. Last problem:"
            f" {next(iter(trouble.values()))[1]}"
        )

    def observe(self, accuracies: Mapping[str, float]) -> None:
        """Tell the stream the mean accuracy of each group of all ranks, by prompt id."""
        self.stream.observe(accuracies)

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        """Return the batches that are left.

        No batch is fetched ahead, because the filter decides how much a step draws.

        Raises:
            ValueError: if there are fewer prompts than processes, or processes see different data.
        """
        if self.num_prompts < ranks.world_size():
            raise ValueError(
                f"batch.prompts_per_step={self.num_prompts}: expected at least one prompt for each"
                f" of {ranks.world_size()} processes"
            )
        sizes = ranks.all_gather_list(
            [[(task, self.stream.source.size(task, "train")) for task in self.stream.mix.shares]]
        )
        if any(other != sizes[0] for other in sizes):
            raise ValueError(
                "data: expected the same training prompts in every process, got"
                f" {' / '.join(str(dict(own)) for own in sizes)}. Do all read the same files? If"
                " gold answers ran into reward_workers.timeout_s on some of them, raise it."
            )
        return DataLoader(_Steps(self), batch_size=None)

    def val_dataloader(self) -> Any:
        """Return this rank's share of every batch of held-out prompts.

        All ranks have the same number of batches.
        """
        if self.heldout is None:
            return []
        batches = self.heldout.batches(self.stream.source, tuple(self.stream.mix.shares))
        return DataLoader(_HeldoutBatches(self, batches), batch_size=None)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stream, prompts in flight, and counts of skipped records."""
        return {
            "tasks": list(self.stream.mix.shares),
            "stream": self.stream.state_dict(),
            "reserved": [[tuple(turn) for turn in draw.turns] for draw in self.reserved],
            "skips": self.skips.summary(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the last draw, with the same prompts in flight.

        Raises:
            ValueError: if the run that wrote the checkpoint had other tasks or another curriculum.
        """
        refuse_other_tasks(state_dict["tasks"], list(self.stream.mix.shares))
        refuse_lost_state("curriculum", self.stream.curriculum, state_dict["stream"]["curriculum"])
        self.stream.load_state_dict(state_dict["stream"])
        self.reserved = deque(
            self._filled([self.stream.again(Turn(*turn)) for turn in turns])
            for turns in state_dict.get("reserved", ())
        )
        self.skips.load_summary(state_dict["skips"])

    def teardown(self, stage: str) -> None:
        """End the threads that read images."""
        self.loading.close()

    def _look_ahead(self) -> None:
        """Start to read the images of this rank's share of the next batch."""
        if self.loading.workers:
            self.loading.ahead(self._own(self.stream.peek(self.num_prompts)), self.encoder.fit)

    def _own(self, prompts: list[Prompt]) -> list[Prompt]:
        return prompts[_share(len(prompts))]

    def _encoded(
        self, prompts: list[Prompt], ready: dict[str, Prompt]
    ) -> tuple[PromptBatch | None, Trouble]:
        """Encode prompts, or say what is wrong with some of them.

        `ready` keeps loaded images between calls.
        """
        missing = [prompt for prompt in prompts if prompt.id not in ready]
        trouble: Trouble = {}
        for prompt, found in zip(
            missing, self.loading.loaded(missing, self.encoder.fit), strict=True
        ):
            if isinstance(found, BadRecord):
                trouble[prompt.id] = ("unusable", str(found))
            else:
                ready[prompt.id] = found
        if trouble:
            return None, trouble
        loaded = [ready[prompt.id] for prompt in prompts]
        try:
            batch = self.encoder.encode(loaded)
        except ValueError:
            trouble = {
                prompt.id: ("unusable", reason)
                for prompt in loaded
                if (reason := self._refused(prompt))
            }
            if not trouble:
                raise
            return None, trouble
        return batch, self._too_long(batch)

    def _refused(self, prompt: Prompt) -> str:
        """Return why the encoder refuses a prompt; empty if it does not."""
        try:
            self.encoder.encode([prompt])
        except ValueError as error:
            return f"{place(prompt)}: {error}"
        return ""

    def _too_long(self, batch: PromptBatch) -> Trouble:
        most = self.loading.max_prompt_tokens
        if most is None:
            return {}
        lengths = zip(batch.prompts, batch.attention_mask.sum(1).tolist(), strict=True)
        reason = "{}: {} tokens are more than data.loading.max_prompt_tokens={}".format
        return {
            prompt.id: ("too_long", reason(place(prompt), tokens, most))
            for prompt, tokens in lengths
            if tokens > most
        }

    def _report(self, prompts: list[Prompt], trouble: Trouble) -> None:
        for prompt in prompts:
            if prompt.id in trouble:
                kind, reason = trouble[prompt.id]
                (self.skips.too_long if kind == "too_long" else self.skips.unusable)(
                    prompt.task, reason
                )
                self.stream.forget(prompt)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A batch of prompts: the turns of all ranks, and this rank's share of them, encoded."""

    turns: list[Turn]
    batch: PromptBatch


def _share(count: int) -> slice:
    """Return which of `count` prompts of all ranks are this rank's."""
    return slice(*(count * rank // ranks.world_size() for rank in (ranks.rank(), ranks.rank() + 1)))


class _Steps(IterableDataset[PromptBatch]):
    """Draws a batch per iteration; its length is known, so that Lightning fetches none ahead."""

    def __init__(self, data: PromptDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.num_steps

    def __iter__(self) -> Iterator[PromptBatch]:
        for _ in range(self.data.num_steps):
            yield self.data.draw()


class _HeldoutBatches(IterableDataset[HeldoutBatch]):
    """Loads held-out prompts with their images; unusable ones are left out."""

    def __init__(self, data: PromptDataModule, batches: Sequence[HeldoutBatch]) -> None:
        self.data, self.batches = data, batches
        self.read = reader(data.stream.source, data.encoder.fit)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[HeldoutBatch]:
        for batch in self.batches:
            place_of = {
                prompt.id: place for place, prompt in zip(batch.places, batch.prompts, strict=True)
            }
            own = self.read(self.data._own(batch.prompts))
            yield HeldoutBatch(places=[place_of[prompt.id] for prompt in own], prompts=own)
