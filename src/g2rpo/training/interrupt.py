"""Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP end a run with a checkpoint to resume from."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo import ranks
from g2rpo.training.sharded_checkpoints import save_at_once

log = logging.getLogger("g2rpo")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
ECHO_S = 1.0
"""Seconds in which a second signal counts as the first one: torchrun and srun both pass one on."""


class Stopped(BaseException):
    """A signal ended the run; like KeyboardInterrupt, no handler of errors catches it.

    Args:
        signum: The number of the signal.
        checkpoint: The checkpoint that was written, or None if there was nothing to save.
        together: Whether all ranks stop at this place.
    """

    def __init__(
        self, signum: int, checkpoint: Path | None = None, *, together: bool = False
    ) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.checkpoint, self.together = signum, checkpoint, together

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as a shell reports it."""
        return 128 + self.signum


class StopOnSignal(L.Callback):
    """Stops training on all ranks at the end of the current step and saves `last.ckpt`.

    Between steps the weights, the stream of prompts and the files agree, so a resumed run continues
    exactly. Outside of training, a signal ends the run immediately. So does a second signal.

    Args:
        folder: The run folder.
    """

    def __init__(self, *, folder: str | Path) -> None:
        self.checkpoint = Path(folder) / "checkpoints" / "last.ckpt"
        self._heard: int | None = None
        self._heard_s = 0.0
        self._in_training = self._listening = False
        self._signals: Sequence[signal.Signals] = SIGNALS

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals until the block ends.

        Outside of the main thread Python has no signals, and nothing happens.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self._signals = [signum for signum in SIGNALS if not _is_ignored_hangup(signum)]
        self._listen()
        self._listening = True
        try:
            yield
        finally:
            self._listening = False
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Wait for the end of a step from now on.

        The handlers are installed again, because Lightning has replaced that of SIGTERM.
        """
        self._in_training = True
        if threading.current_thread() is threading.main_thread():
            self._listen()

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Install the handlers again: that of Lightning would communicate within a collective."""
        if self._listening:
            self._listen()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Stop immediately from now on."""
        self._in_training = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if any rank has received a signal.

        A validation that is due comes first: a resumed run goes on after it.
        """
        self._stop_if_heard(trainer, after_validation=_validation_is_due(trainer))

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Save and stop if a signal came during a validation in training."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._stop_if_heard(trainer)

    def _stop_if_heard(self, trainer: L.Trainer, *, after_validation: bool = False) -> None:
        signum = int(ranks.all_reduce_max(torch.tensor(self._heard or 0)))
        if signum:
            save_at_once(trainer, self.checkpoint)
            if after_validation:
                log.warning("saved; stops after the validation of this step")
                return
            self._in_training = False
            raise Stopped(signum, self.checkpoint, together=True)

    def _listen(self) -> None:
        for signum in self._signals:
            signal.signal(signum, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        again = self._heard is not None
        if again and time.monotonic() - self._heard_s < ECHO_S:
            return
        self._heard, self._heard_s = signum, time.monotonic()
        if again or not self._in_training:
            raise Stopped(signum, self.checkpoint if self.checkpoint.exists() else None)
        log.warning(
            "%s: stops after this step and saves; a second signal stops immediately",
            signal.Signals(signum).name,
        )


def _validation_is_due(trainer: L.Trainer) -> bool:
    """Whether Lightning validates before the next step; the same on all ranks."""
    loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and not loop.val_loop.skip and loop._should_check_val_fx(fetcher)


def _is_ignored_hangup(signum: signal.Signals) -> bool:
    """Whether `nohup` has started the run: then the end of the terminal must not end it."""
    return signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN
