"""Supervised fine-tuning on demonstrations before reinforcement learning, in stages.

    python cold_start.py                        trains the checkpoint of model=tiny from scratch
    python cold_start.py data=jsonl ...         imitates the completions of records
    python cold_start.py resume=<run folder>    resumes a killed run

Batch `k` depends only on `k`, so a resumed run sees the same demonstrations as an unbroken one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from g2rpo.data.mixture import listed_tasks
from g2rpo.interfaces import Demonstrator, Encoder, PromptSource
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.packing import SupervisedBatch, supervised_batch, target_logprobs
from g2rpo.records import Prompt, PromptBatch
from g2rpo.training.fused_adamw import fuse
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.resume import keep_adapter, restore_base


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
        if missing := [task for task in self.tasks if self.source.size(task, "train") == 0]:
            raise ValueError(
                "stages.tasks: expected tasks of the stage's source, which has no prompt of"
                f" {', '.join(missing)}"
            )

    def draw(self, step: int, batch_size: int, seed: int) -> list[Prompt]:
        """Draw the prompts of one batch: tasks by weight, prompts of a finite source at random.

        Prompts of an endless source are never drawn twice.
        """
        rng = Random(f"{seed}/{step}")  # noqa: S311
        tasks = rng.choices(list(self.tasks), weights=list(self.tasks.values()), k=batch_size)
        indices = [step * batch_size + i for i in range(batch_size)]
        sizes = [self.source.size(task, "train") for task in tasks]
        return [
            self.source.get(task, index if size is None else rng.randrange(size), "train")
            for task, index, size in zip(tasks, indices, sizes, strict=True)
        ]


class Epochs:
    """A stage over all training prompts of a source, each once an epoch in a new order.

    Args:
        source: Source of the prompts, of limited size.
        demonstrations: Has the completion to imitate for a prompt.
        read: Loads the images of prompts, and leaves out those that cannot be used.
        batch_size: Number of prompts in a batch; the last batch may have fewer.
        epochs: Number of times that each prompt is imitated, at least 1.
    """

    def __init__(
        self,
        *,
        source: PromptSource,
        demonstrations: Demonstrator,
        read: Callable[[Sequence[Prompt]], list[Prompt]],
        batch_size: int,
        epochs: int,
    ) -> None:
        if epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {epochs}")
        self.source, self.demonstrations, self.read = source, demonstrations, read
        sizes = {task: source.size(task, "train") for task in listed_tasks(source)}
        if None in sizes.values():
            raise ValueError(
                "data: expected records whose number is known, got a stream without end; use"
                " data=hub instead of data=hub_stream"
            )
        self.places = [(task, index) for task, size in sizes.items() for index in range(size or 0)]
        if not self.places:
            raise ValueError("data: expected records with a completion to imitate, got none")
        self.epochs = epochs
        self.steps = -(-epochs * len(self.places) // batch_size)

    def draw(self, step: int, batch_size: int, seed: int) -> list[Prompt]:
        """Return the usable prompts of one batch.

        Raises:
            ValueError: if none of them can be used.
        """
        count = len(self.places)
        numbers = range(step * batch_size, min((step + 1) * batch_size, self.epochs * count))
        orders = {epoch: list(self.places) for epoch in {number // count for number in numbers}}
        for epoch, order in orders.items():
            Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311
        places = [orders[number // count][number % count] for number in numbers]
        prompts = self.read([self.source.get(task, index, "train") for task, index in places])
        if not prompts:
            raise ValueError(f"data: none of the {len(places)} records of a batch can be used")
        return prompts


class Demonstrations(IterableDataset[Demonstration]):
    """Yields encoded prompts with the token ids to imitate, from batch `start` to the last."""

    def __init__(
        self, *, encoder: Encoder, stages: Sequence[Stage | Epochs], batch_size: int, seed: int
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
            prompts = stage.draw(step, self.batch_size, self.seed)
            completions = [
                self.encoder.tokenize(stage.demonstrations.demonstrate(prompt))
                for prompt in prompts
            ]
            yield Demonstration(self.encoder.encode(prompts), completions)


class ColdStartModule(L.LightningModule):
    """Minimizes the mean next-token cross-entropy of the completion tokens in a batch.

    Args:
        policy: The model to train.
        pad_token_id: Token id that fills rows.
        total_steps: Number of batches of all stages.
        lr: Peak learning rate of AdamW, between warm-up and decay.
        weight_decay: Weight decay of AdamW.
        warmup_steps: Number of steps in which the learning rate rises linearly; 0 for none.
        decay_frac: Share of the steps at the end in which it falls linearly to a tenth; 0 for none.
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
        """Compute the loss of one batch, a scalar in nats per token.

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
        return {
            f"loss/task_nats_per_token/{name}": -logprobs[task == place].mean()
            for place, name in enumerate(tasks)
        }

    def on_train_start(self) -> None:
        """Drop the rows of metrics.csv that a resumed run will write again."""
        for logger in self.loggers:
            if isinstance(logger, MetricsCSV):
                logger.forget_after(self.global_step - 1)  # Lightning counts batches from 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the adapter, if there is one."""
        keep_adapter(checkpoint, self.policy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the frozen weights again."""
        restore_base(checkpoint, self.policy)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW with warm-up, plateau and linear decay."""
        optimizer = torch.optim.AdamW(
            [p for p in self.policy.parameters() if p.requires_grad],
            lr=self.lr,
            weight_decay=self.weight_decay,
            betas=(0.9, 0.98),
        )
        fuse(optimizer)
        # a plain function, because the scheduler saves the attributes of other callables
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._scale(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scale(self, step: int) -> float:
        left = (self.total_steps - step) / max(1.0, self.decay_frac * self.total_steps)
        return min(1.0, (step + 1) / max(1, self.warmup_steps), max(0.1, left))


class DemonstrationData(L.LightningDataModule):
    """Provides the demonstrations from the trainer's current step on."""

    def __init__(self, demonstrations: Demonstrations) -> None:
        super().__init__()
        self.demonstrations = demonstrations

    def setup(self, stage: str) -> None:
        """Let the encoder process images on the GPU."""
        if isinstance(self.demonstrations.encoder, ChatEncoder):
            self.demonstrations.encoder.process_on(self.trainer.strategy.root_device)

    def train_dataloader(self) -> DataLoader[Demonstration]:
        """Return a loader that yields one encoded batch per step."""
        self.demonstrations.start = self.trainer.global_step
        return DataLoader(self.demonstrations, batch_size=None)
