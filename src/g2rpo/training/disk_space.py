"""Warns before a run whose checkpoints do not fit into the free space of the disk."""

import logging
import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from g2rpo.training.benchmark_callback import Benchmarks

log = logging.getLogger("g2rpo")


def checkpoints_at_once(callbacks: Iterable[L.Callback], max_steps: int) -> tuple[int, int]:
    """Return how many checkpoints of a run are on the disk at the same time, at most.

    An earlier checkpoint is removed only when the next one is complete, so one more than those that
    are kept is counted.

    Args:
        callbacks: The callbacks of the trainer.
        max_steps: Number of optimizer updates; -1 if unlimited.

    Returns:
        The number of checkpoints with the full training state, and of folders with weights only.
    """
    saving = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    full = sum(_kept(callback, max_steps) for callback in saving)
    full += len({str(callback.dirpath) for callback in saving if callback.save_last})
    best = any(isinstance(callback, Benchmarks) and callback.keep_best for callback in callbacks)
    return full + bool(saving), 2 + best  # final, and one that is being written


def _kept(callback: ModelCheckpoint, max_steps: int) -> int:
    if callback.save_top_k >= 0:
        return callback.save_top_k
    every = callback._every_n_train_steps
    return math.ceil(max_steps / every) if every and max_steps > 0 else 1


def warn_if_full(
    folder: Path,
    callbacks: Iterable[L.Callback],
    max_steps: int,
    *,
    checkpoint_bytes: int,
    export_bytes: int,
) -> None:
    """Warn if the checkpoints of a run are larger than the free space.

    Args:
        folder: The run folder.
        callbacks: The callbacks of the trainer.
        max_steps: Number of optimizer updates; -1 if unlimited.
        checkpoint_bytes: Size of the full training state.
        export_bytes: Size of a folder with weights.
    """
    callbacks = list(callbacks)
    full, weights = checkpoints_at_once(callbacks, max_steps)
    needed = full * checkpoint_bytes + weights * export_bytes
    free = shutil.disk_usage(folder).free
    if needed > free:
        log.warning(
            "%s: checkpoints need up to %.1f GB (%d times %.1f GB of training state, %d times %.1f"
            " GB of weights), but %.1f GB are free; make room, choose another disk with"
            " hydra.run.dir, or keep fewer with callbacks.timed_checkpoint=null",
            folder,
            needed / 1e9,
            full,
            checkpoint_bytes / 1e9,
            weights,
            export_bytes / 1e9,
            free / 1e9,
        )
