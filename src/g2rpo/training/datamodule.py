"""Batches of prompts for the trainer: drawn from the stream, read, encoded; the state of the stream
is in the checkpoint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, IterableDataset

from g2rpo import ranks
from g2rpo.data.loading import loading_of, place, reader
from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import skips_of
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import Encoder
from g2rpo.records import Prompt, PromptBatch
from g2rpo.stopwatch import timed
from g2rpo.training.heldout import HeldoutBatch, HeldoutEvaluation

MOST_REPLACEMENTS = 20
"""Rounds in which a batch is mended before the run stops: then it is not a record that is broken
but `data.root`.
"""
Trouble = dict[str, tuple[str, str]]
"""By prompt id: `unusable` or `too_long`, and the reason with file and line."""


class PromptDataModule(L.LightningDataModule):
    """One encoded batch of prompts a step. Online filtering draws further batches from the same
    stream during the step.

    Args:
        stream: The order of the prompts.
        encoder: Prompts to model inputs.
        num_prompts: Prompts per step, of all ranks together.
        num_steps: Rollout batches of the whole run; a resumed run draws the rest.
        heldout: Names the prompts of a validation; None: there is no validation.
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
                "trainer.max_steps: expected at least 1 update; python evaluate.py scores a model"
                " without training"
            )
        self.stream = stream
        self.loading = loading_of(stream.source)
        self.skips = skips_of(stream.source)
        self.encoder = encoder
        self.num_prompts = num_prompts
        self.num_steps = num_steps
        self.heldout = heldout

    @timed("data")
    def draw(self) -> PromptBatch:
        """This rank's share of the next batch of the stream: every rank walks the whole stream and
        encodes its own piece.

        A prompt that cannot be used is replaced by the next one of its task, on all ranks alike,
        and counted, or the run stops.
        """
        prompts, ready = self.stream.draw(self.num_prompts), dict[str, Prompt]()
        for _ in range(MOST_REPLACEMENTS):
            own = self._own(prompts)
            batch, trouble = self._encoded(own, ready)
            trouble = dict(ranks.all_gather_list(list(trouble.items())))
            if not trouble:
                self._look_ahead()
                return replace(
                    batch, prompts=tuple(own)
                )  # the paths again, not the images: those are patches now
            self._report(prompts, trouble)
            prompts = [
                self.stream.next_of(prompt.task) if prompt.id in trouble else prompt
                for prompt in prompts
            ]
        raise ValueError(
            f"data: no batch could be filled, {MOST_REPLACEMENTS} prompts in a row were left out;"
            f" is data.root right? Last: {next(iter(trouble.values()))[1]}"
        )

    def observe(self, accuracies: Mapping[str, float]) -> None:
        """The mean accuracy of each group of the step, by the id of its prompt, from all ranks."""
        self.stream.observe(accuracies)

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        """Batches for the steps that are left. Nothing is fetched ahead: the filter decides how
        much a step draws.
        """
        if self.num_prompts < ranks.world_size():
            raise ValueError(
                f"batch.prompts_per_step={self.num_prompts}: expected at least one prompt for each"
                f" of {ranks.world_size()} processes"
            )
        sizes = ranks.all_gather_list(
            [{task: self.stream.source.size(task, "train") for task in self.stream.mix.shares}]
        )
        if any(other != sizes[0] for other in sizes):
            raise ValueError(
                "data: expected the same training prompts in every process, got"
                f" {' / '.join(map(str, sizes))}. Do all read the same files? If gold answers ran"
                " into reward_workers.timeout_s on some of them, raise it."
            )
        return DataLoader(_Steps(self), batch_size=None)

    def val_dataloader(self) -> Any:
        """This rank's share of every batch of held-out prompts: as many batches on each rank."""
        if self.heldout is None:
            return []
        return DataLoader(
            _HeldoutBatches(self, self.heldout.batches(self.stream.source)), batch_size=None
        )

    def state_dict(self) -> dict[str, Any]:
        """The place in the stream, and what was left out on the way there."""
        return {"stream": self.stream.state_dict(), "skips": self.skips.summary()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on behind the last draw that a checkpoint knows of."""
        self.stream.load_state_dict(state_dict["stream"])
        self.skips.load_summary(state_dict["skips"])

    def teardown(self, stage: str) -> None:
        """Ends the threads that read images."""
        self.loading.close()

    def _look_ahead(self) -> None:
        """Begins to read the images of this rank's piece of the next batch."""
        if self.loading.workers:
            self.loading.ahead(self._own(self.stream.peek(self.num_prompts)), self.encoder.fit)

    def _own(self, prompts: list[Prompt]) -> list[Prompt]:
        first, behind = (
            len(prompts) * rank // ranks.world_size() for rank in (ranks.rank(), ranks.rank() + 1)
        )
        return prompts[first:behind]

    def _encoded(
        self, prompts: list[Prompt], ready: dict[str, Prompt]
    ) -> tuple[PromptBatch | None, Trouble]:
        """The batch, or what is wrong with some of its prompts; `ready` keeps images between
        calls.
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
        """Why the encoder does not take a prompt; nothing where it does."""
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


class _Steps(IterableDataset[PromptBatch]):
    """One draw a step. Its known length keeps Lightning from fetching a batch ahead of the step
    that uses it.
    """

    def __init__(self, data: PromptDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.num_steps

    def __iter__(self) -> Iterator[PromptBatch]:
        for _ in range(self.data.num_steps):
            yield self.data.draw()


class _HeldoutBatches(IterableDataset[HeldoutBatch]):
    """Held-out prompts with their images; those that cannot be used are left out."""

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
            yield HeldoutBatch(
                start=batch.start, places=[place_of[prompt.id] for prompt in own], prompts=own
            )
