"""A callback that takes the disk away from a run."""

import resource
import shutil
from pathlib import Path
from typing import Any

import lightning as L


class Breaks(L.Callback):
    """Does something to the run folder when a step has ended.

    Args:
        how: `removed`, `renamed`, or `full`: from then on no file may be larger than 50 kB.
        after: Number of the step.
    """

    def __init__(self, *, how: str, after: int) -> None:
        self.how, self.after = how, after

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Break the disk."""
        if trainer.global_step != self.after:
            return
        folder = Path(trainer.default_root_dir)
        if self.how == "removed":
            shutil.rmtree(folder)
        elif self.how == "renamed":
            folder.rename(folder.with_name("moved"))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
