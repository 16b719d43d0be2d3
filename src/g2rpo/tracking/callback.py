"""What W&B hears of a step besides its metrics."""

from typing import Any

import lightning as L

from g2rpo.tracking.bands import band_columns
from g2rpo.tracking.wandb_tracker import trackers


class TrackedSteps(L.Callback):
    """Bands, completions, and the end of each step, for the loggers that are in W&B."""

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Bands are logged with every step."""
        for tracker in trackers(trainer.loggers):
            tracker.constants = band_columns(pl_module.shaping)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The step before has got all its numbers."""
        for tracker in trackers(trainer.loggers):
            tracker.end_step()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Completions of the step that was just learnt from."""
        for tracker in trackers(trainer.loggers):
            tracker.log_completions(pl_module.last_experience, pl_module.steps_done)
