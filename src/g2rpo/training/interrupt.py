"""Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP end a run with a checkpoint to resume from."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo import ranks
from g2rpo.launch import marks
from g2rpo.launch.marks import Stopped, StoppedTogether
from g2rpo.training.sharded_checkpoints import save_at_once

log = logging.getLogger("g2rpo")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
ECHO_S = 1.0
"""Seconds in which a second signal counts as the first one: torchrun and srun both pass one on."""

LIVE = ("state_dict", "optimizer_states")
"""Parts of a checkpoint that change in optimizer steps only."""


class StopOnSignal(L.Callback):
    """Stops training on all ranks and saves the state at the end of the last step in `last.ckpt`.

    Until its first update, a step is dropped at the next token or micro-batch: it has changed no
    weights, and a resumed run asks its prompts again. Later, the step is finished. A validation is
    dropped too, and a resumed run makes up for it. Outside of training, a signal ends the run
    immediately. So does a second signal.

    It must be the last callback, so that the state has what the others did in the step.

    Args:
        folder: The run folder.
    """

    def __init__(self, *, folder: str | Path) -> None:
        self.checkpoint = Path(folder) / "checkpoints" / "last.ckpt"
        self._ready: dict[str, Any] | None = None
        """The checkpoint of the last step. Its weights and moments are those of the run, so it is
        valid until the first update of the next step.
        """
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
            marks.ask_to_stop(0)
            marks.may_drop(False)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Let a signal wait for a moment at which the state can be saved.

        The handlers are installed again, because Lightning has replaced that of SIGTERM.
        """
        self._in_training = True
        self._keep_ready(trainer)
        if threading.current_thread() is threading.main_thread():
            self._listen()

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Install the handlers again: that of Lightning would communicate within a collective."""
        if self._listening:
            self._listen()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if any rank has received a signal.

        With automatic optimization Lightning logs the metrics of the step later, so the run stops
        at the start of the next one.
        """
        self._keep_ready(trainer)
        if not pl_module.automatic_optimization:
            ranks.stop_together()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if a signal came in the step before; see `on_train_batch_end`."""
        if pl_module.automatic_optimization:
            ranks.stop_together()

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Stop if a signal came during a validation in training."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._keep_ready(trainer)
            ranks.stop_together()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Stop immediately from now on."""
        ranks.stop_together()
        self._in_training = False
        marks.may_drop(False)
        self._ready = None

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Save the state of the last step if all ranks have left the run because of a signal."""
        if isinstance(exception, StoppedTogether):
            save_at_once(trainer, self.checkpoint, self._ready)
            exception.checkpoint = self.checkpoint

    def _keep_ready(self, trainer: L.Trainer) -> None:
        """Keep the checkpoint of this moment, without a copy of weights and moments."""
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        self._ready = {
            name: value if name in LIVE else deepcopy(value) for name, value in checkpoint.items()
        }
        marks.may_drop(True)

    def _listen(self) -> None:
        for signum in self._signals:
            signal.signal(signum, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        again = self._heard is not None
        if again and time.monotonic() - self._heard_s < ECHO_S:
            return
        self._heard, self._heard_s = signum, time.monotonic()
        marks.ask_to_stop(signum)
        if again or not self._in_training:
            raise Stopped(signum, self.checkpoint if self.checkpoint.exists() else None)
        log.warning(
            "%s: drops this step, or finishes it if its updates have begun, and saves; a second"
            " signal stops immediately",
            signal.Signals(signum).name,
        )


def _is_ignored_hangup(signum: signal.Signals) -> bool:
    """Whether `nohup` has started the run: then the end of the terminal must not end it."""
    return signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN
