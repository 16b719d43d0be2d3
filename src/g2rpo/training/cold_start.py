"""Supervised fine-tuning on demonstrations before reinforcement learning, in stages.

    python cold_start.py                        trains the checkpoint of model=tiny from scratch
    python cold_start.py resume=<run folder>    resumes a killed run

Batch `k` depends only on `k`, so a resumed run sees the same demonstrations as an unbroken one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from g2rpo.interfaces import Demonstrator, Encoder, PromptSource
from g2rpo.policy.packing import SupervisedBatch, supervised_batch, target_logprobs
from g2rpo.records import Prompt, PromptBatch


class Demonstration(NamedTuple):
    """An encoded batch of prompts, and the token ids to imitate for each.

    It is a named tuple because a loader turns a plain tuple into a list.
    """

    prompts: PromptBatch
    completions: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: batches of prompts from one source with their demonstrations.

    Args:
        steps: Number of batches, at least 1.
        source: Source of the prompts.
        tasks: Weight of each task in the draw, at least 0, with a positive sum.
        demonstrations: Writes the completion to imitate for a prompt.
    """

    steps: int
    source: PromptSource
    tasks: Mapping[str, float]
    demonstrations: Demonstrator

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"stages.steps: expected at least 1, got {self.steps}")
        if not self.tasks or min(self.tasks.values()) < 0 or sum(self.tasks.values()) <= 0:
            raise ValueError(
                f"stages.tasks: expected weights >= 0 with a positive sum, got {dict(self.tasks)}"
            )


class Demonstrations(IterableDataset[Demonstration]):
    """Yields encoded prompts with the token ids to imitate, from batch `start` to the last."""

    def __init__(
        self, *, encoder: Encoder, stages: Sequence[Stage], batch_size: int, seed: int
    ) -> None:
        self.encoder = encoder
        self.stages = stages
        self.batch_size = batch_size
        self.seed = seed
        self.start = 0

    def __len__(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def __iter__(self) -> Iterator[Demonstration]:
        schedule = [stage for stage in self.stages for _ in range(stage.steps)]
        for step in range(self.start, len(schedule)):
            stage = schedule[step]
            prompts = self.prompts(step, stage)
            completions = [
                self.encoder.tokenize(stage.demonstrations.demonstrate(prompt))
                for prompt in prompts
            ]
            yield Demonstration(self.encoder.encode(prompts), completions)

    def prompts(self, step: int, stage: Stage) -> list[Prompt]:
        """Draw the prompts of one batch: tasks by weight, prompts of a finite source at random.

        Prompts of an endless source are never drawn twice.
        """
        rng = Random(f"{self.seed}/{step}")  # noqa: S311
        tasks = rng.choices(
            list(stage.tasks), weights=list(stage.tasks.values()), k=self.batch_size
        )
        indices = [step * self.batch_size + i for i in range(self.batch_size)]
        sizes = [stage.source.size(task, "train") for task in tasks]
        return [
            stage.source.get(task, index if size is None else rng.randrange(size), "train")
            for task, index, size in zip(tasks, indices, sizes, strict=True)
        ]


class ColdStartModule(L.LightningModule):
    """Minimizes the mean next-token cross-entropy of the completion tokens in a batch.

    Args:
        policy: The model to train.
        pad_token_id: Token id that fills rows.
        total_steps: Number of batches of all stages.
        lr: Peak learning rate of AdamW, between warm-up and decay.
        weight_decay: Weight decay of AdamW.
        warmup_steps: Number of steps in which the learning rate rises linearly.
        decay_frac: Share of the steps at the end in which it falls linearly to a tenth.
        row_tokens: Sequences are packed into rows of this many tokens; 1 pads one sequence a row.
    """

    def __init__(
        self,
        *,
        policy: Any,
        pad_token_id: int,
        total_steps: int,
        lr: float,
        weight_decay: float,
        warmup_steps: int,
        decay_frac: float,
        row_tokens: int,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.pad_token_id = pad_token_id
        self.total_steps = total_steps
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.decay_frac = decay_frac
        self.row_tokens = row_tokens

    def training_step(self, demonstrations: Demonstration, batch_idx: int) -> Tensor:
        """Compute the loss of one batch.

        Raises:
            RuntimeError: if the loss is not finite.
        """
        prompts, completions = demonstrations
        batch = supervised_batch(
            self.policy, prompts, completions, self.pad_token_id, self.row_tokens
        )
        logprobs = target_logprobs(self.policy, batch)
        loss = -logprobs.mean()
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"cold start: loss became {loss.item()} at step {self.global_step}; lower"
                f" lr={self.lr}"
            )
        self.log("loss/nats_per_token", loss, prog_bar=True)
        self.log_dict(self._per_task(batch, logprobs.detach()))
        return loss

    def _per_task(self, batch: SupervisedBatch, logprobs: Tensor) -> dict[str, Tensor]:
        """Compute the loss by task, which shows tasks that are not learned yet."""
        sequence = (batch.position_ids[0] == 0).flatten().cumsum(0).view_as(batch.input_ids)[
            batch.targets
        ] - 1
        rows = sequence.unique(return_inverse=True)[1]
        tasks = sorted({prompt.task for prompt in batch.batch.prompts})
        task = batch.batch.task_positions(tasks)[rows]
        return {f"loss/{name}": -logprobs[task == place].mean() for place, name in enumerate(tasks)}

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW with warm-up, plateau and linear decay."""
        optimizer = torch.optim.AdamW(
            [p for p in self.policy.parameters() if p.requires_grad],
            lr=self.lr,
            weight_decay=self.weight_decay,
            betas=(0.9, 0.98),
        )
        # a plain function, because the scheduler saves the attributes of other callables
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._scale(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scale(self, step: int) -> float:
        left = (self.total_steps - step) / (self.decay_frac * self.total_steps)
        return min(1.0, (step + 1) / self.warmup_steps, max(0.1, left))


class DemonstrationData(L.LightningDataModule):
    """Provides the demonstrations from the trainer's current step on."""

    def __init__(self, demonstrations: Demonstrations) -> None:
        super().__init__()
        self.demonstrations = demonstrations

    def train_dataloader(self) -> DataLoader[Demonstration]:
        """Return a loader that yields one encoded batch per step."""
        self.demonstrations.start = self.trainer.global_step
        return DataLoader(self.demonstrations, batch_size=None)
