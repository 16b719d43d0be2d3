"""Validation on held-out prompts, on all ranks.

It runs before and after training and every `trainer.val_check_interval` rollout batches.
"""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo import ranks
from g2rpo.benchmark.evaluation.suite import SuiteEvaluation
from g2rpo.data.loading import reader
from g2rpo.interfaces import Encoder, Reward, RolloutEngine
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training.heldout import HeldoutBatch, HeldoutEvaluation, HeldoutResult

log = logging.getLogger("g2rpo")


@dataclass(kw_only=True)
class Validation:
    """Evaluates the held-out prompts and keeps the scores of every validation.

    Args:
        heldout: Evaluates an engine on the held-out prompts.
        suite: Benchmarks for the `Benchmarks` callback; there may be none.
        model: The checkpoint that the run started from. Saved predictions are reused only for the
            same model settings.
        folder: The run folder; completions are written to `heldout/<name>.jsonl` in it.
    """

    heldout: HeldoutEvaluation
    suite: SuiteEvaluation
    model: Checkpoint
    folder: Path
    results: dict[str, HeldoutResult] = field(default_factory=dict)
    """Scores by name: `before`, `step_<n>`, `after`."""
    spent_s: float = 0.0
    """Seconds of the validations during training."""
    _rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _started_s: float = 0.0

    def begin(self) -> None:
        """Forget the rows of the previous validation."""
        self._rows = []
        self._started_s = time.perf_counter()

    def answer(
        self,
        batch: HeldoutBatch,
        *,
        engine: RolloutEngine,
        encoder: Encoder,
        reward: Reward,
        device: torch.device,
    ) -> None:
        """Generate and score completions for this rank's share of a batch."""
        if not batch.prompts:
            return
        self._rows += zip(
            batch.places, self.heldout.score(engine, encoder, reward, batch, device), strict=True
        )

    def finish(self, trainer: L.Trainer) -> dict[str, float]:
        """Gather the rows of all ranks, write them on the first one, and return the metrics.

        The metrics are equal on every rank.
        """
        rows = [
            row
            for _, row in sorted(ranks.all_gather_list(self._rows), key=lambda placed: placed[0])
        ]
        name = validation_name(trainer)
        if trainer.is_global_zero:
            data = trainer.datamodule
            self.heldout.write(
                self.folder / "heldout",
                name,
                rows,
                self.heldout.prompts(data.stream.source, tuple(data.stream.mix.shares)),
                read=reader(data.stream.source, data.encoder.fit),
            )
        result = self.results[name] = self.heldout.result(rows)
        if trainer.state.fn == TrainerFn.FITTING:
            self.spent_s += time.perf_counter() - self._started_s
            if rows:
                log.info("step %d: val/macro %.4f", trainer.global_step, result.sampled["macro"])
        return dict(scores_row(result))


def scores_row(result: HeldoutResult) -> Iterator[tuple[str, float]]:
    """Yield name and value of each metric; nothing without held-out prompts."""
    if math.isnan(result.sampled.get("macro", math.nan)):
        return
    yield "val/macro", result.sampled["macro"]
    yield "val/greedy_macro", result.greedy["macro"]
    for task, score in result.sampled.items():
        if task != "macro":
            yield f"val/accuracy/{task}", score


def validation_name(trainer: L.Trainer) -> str:
    """Return the stem of a validation's files: `before`, `after` or, in training, `step_<n>`."""
    step = trainer.global_step
    if trainer.state.fn != TrainerFn.FITTING:
        return "after" if step else "before"
    return "after" if 0 < trainer.max_steps <= step else f"step_{step}"
