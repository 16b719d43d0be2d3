"""Gives bands, completions and pictures of a rollout batch to the loggers."""

from typing import Any

import lightning as L

from g2rpo.training.showcase import has_table
from g2rpo.training.tracking.bands import band_columns
from g2rpo.training.tracking.samples import show_completions
from g2rpo.training.tracking.wandb_tracker import trackers


class TrackedSteps(L.Callback):
    """Gives bands, completions and pictures to each logger that can show them.

    Args:
        every_n_batches: Number of rollout batches between two that are shown; the first is shown.
            Long runs show fewer, see `showcase.has_table`.
        rows_per_task: Number of completions shown per task, the best and the worst among them; 0
            shows none.
        image_px: Longest side of a picture in pixels.
    """

    def __init__(
        self, *, every_n_batches: int = 10, rows_per_task: int = 2, image_px: int = 256
    ) -> None:
        for key, value, least in (
            ("every_n_batches", every_n_batches, 1),
            ("rows_per_task", rows_per_task, 0),
            ("image_px", image_px, 16),
        ):
            if value < least:
                raise ValueError(
                    f"callbacks.completions.{key}: expected at least {least}, got {value}"
                )
        self.every_n_batches, self.rows_per_task, self.image_px = (
            every_n_batches,
            rows_per_task,
            image_px,
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Let W&B log the bands with every step."""
        for tracker in trackers(trainer.loggers):
            tracker.constants = band_columns(pl_module.algorithm.shaping, pl_module.algorithm.tasks)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Close the previous step, which has all its numbers now."""
        for tracker in trackers(trainer.loggers):
            tracker.end_step()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show completions of the rollout batch that was just learned from."""
        for tracker in trackers(trainer.loggers):
            tracker.log_completions(
                outputs["experience"], trainer.global_step, pl_module.rollout_batch
            )
        if (
            trainer.is_global_zero
            and self.rows_per_task
            and has_table(pl_module.rollout_batch, self.every_n_batches)
        ):
            show_completions(
                trainer.loggers,
                outputs["experience"],
                trainer.global_step,
                per_task=self.rows_per_task,
                image_px=self.image_px,
            )
