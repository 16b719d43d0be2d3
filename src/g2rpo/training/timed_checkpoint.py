"""Checkpoints by the clock, which Lightning's `ModelCheckpoint` skips with manual optimization."""

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from g2rpo import ranks


def refuse_train_time_interval(callback: Any, key: str) -> None:
    """Raise `ValueError` for a `ModelCheckpoint` that waits for its clock and so never saves."""
    if (
        isinstance(callback, ModelCheckpoint)
        and not isinstance(callback, TimedCheckpoint)
        and callback._train_time_interval is not None
    ):
        raise ValueError(
            f"{key}.train_time_interval: Lightning ignores it with manual optimization and would"
            " never save; use callbacks.timed_checkpoint.every_minutes instead"
        )


class TimedCheckpoint(ModelCheckpoint):
    """Saves at the end of a step if so many minutes have passed since the last save or the start.

    All ranks save when the clock of any rank says so.

    Args:
        every_minutes: Minutes between two saves, above 0.
        options: Further arguments of `ModelCheckpoint`, such as `dirpath` and `filename`.
    """

    def __init__(self, *, every_minutes: float, **options: Any) -> None:
        if not every_minutes > 0:
            raise ValueError(
                "callbacks.timed_checkpoint.every_minutes: expected a number above 0, got"
                f" {every_minutes}; callbacks.timed_checkpoint=null switches it off"
            )
        super().__init__(**options)
        self.every_s = 60 * every_minutes
        self._saved_s = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._saved_s = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time."""
        due = time.monotonic() - self._saved_s >= self.every_s
        if not int(ranks.all_reduce_max(torch.tensor(int(due)))):
            return
        self._saved_s = time.monotonic()
        if not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
