"""A callback that sends its own process a signal at a chosen moment of a run."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn


class Signals(L.Callback):
    """Sends a signal once, in a step or a validation.

    Args:
        name: Name of the signal, such as `SIGTERM`.
        moment: `before` (the validation before step 1), `first` (the rollout of the first step),
            `rollout`, `decoded` (when completions are about to be judged), `pass` (after the first
            forward pass), `update`, `validation` or `save`.
    """

    def __init__(self, *, name: str, moment: str) -> None:
        self.number, self.moment = signal.Signals[name], moment

    def _now(self, moment: str, trainer: L.Trainer, step: int) -> None:
        sent = Path(trainer.default_root_dir) / "signal_sent"
        if moment == self.moment and trainer.global_step == step and not sent.exists():
            sent.touch()
            os.kill(os.getpid(), self.number)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Wrap what has no hook of its own."""
        decode, stats = pl_module.encoder.decode, pl_module.updater.stats
        generate = pl_module.engine.generate

        def decoding(*args: Any, **options: Any) -> Any:
            self._now("decoded", trainer, 1)
            return decode(*args, **options)

        def passing(*args: Any, **options: Any) -> Any:
            found = stats(*args, **options)
            self._now("pass", trainer, 1)
            return found

        def generating(*args: Any, **options: Any) -> Any:
            self._now("first", trainer, 0)
            self._now("rollout", trainer, 1)
            return generate(*args, **options)

        pl_module.encoder.decode, pl_module.updater.stats = decoding, passing
        pl_module.engine.generate = generating

    def on_before_optimizer_step(self, trainer: L.Trainer, *_: Any) -> None:
        """In an update."""
        self._now("update", trainer, 1)

    def on_validation_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """In a validation."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        self._now("validation" if fitting else "before", trainer, 2 if fitting else 0)

    def on_save_checkpoint(self, trainer: L.Trainer, *_: Any) -> None:
        """While a checkpoint is made."""
        self._now("save", trainer, 2)
