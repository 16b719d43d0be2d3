"""The progress line of training, with the metrics that matter most.

    step 40/120 | reward 0.61 | acc 0.55 | entropy 0.41 nats | 24 tokens | clip 0.0%
        | rollout 0.8 s, update 1.1 s | 0:02:32 left

It is one line; `display.py` writes it.
"""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from torch import Tensor

from g2rpo.training.display import Display

NUMBERS = {
    "reward/total": "reward {:.2f}",
    "reward/accuracy": "acc {:.2f}",
    "policy/entropy_nats": "entropy {:.2f} nats",
    "rollout/completion_tokens": "{:.0f} tokens",
    "loss/clip_frac": "clip {:.1%}",
}
"""Format of each metric on the line; a metric by task is shown as the mean over its tasks."""
TIMES = {"time/rollout_s": "rollout {:.1f} s", "time/update_s": "update {:.1f} s"}


class Progress(ProgressBar):
    """Progress bar for training; it replaces Lightning's own while `enable_progress_bar` is true.

    Args:
        every_s: Seconds between two lines if stdout is not a terminal.
        console: Console to write to; stdout by default.
    """

    def __init__(self, *, every_s: float = 10.0, console: Console | None = None) -> None:
        super().__init__()
        self.every_s = every_s
        self.console = console
        self.enabled = True
        self._display: Display | None = None

    def disable(self) -> None:
        """Show nothing from now on."""
        self.enabled = False
        self._close()

    def enable(self) -> None:
        """Show the next training again."""
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count optimizer steps up to `trainer.max_steps`, from the resumed step."""
        if not (self.enabled and trainer.is_global_zero):
            return
        total = trainer.max_steps if trainer.max_steps > 0 else None
        self._display = Display(
            name="step",
            total=total,
            every_s=self.every_s,
            console=self.console,
            done=trainer.global_step,
        )
        self._display.start()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show the metrics of the step that has just ended."""
        if self._display is not None:
            row = outputs.get("metrics") if isinstance(outputs, Mapping) else None
            named = row or {**trainer.logged_metrics, **trainer.callback_metrics}
            self._display.update(
                trainer.global_step, numbers_line(named, also=trainer.progress_bar_metrics)
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the display; the last state stays visible."""
        self._close()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show the progress of a validation outside of training, in batches."""
        if not (self.enabled and trainer.is_global_zero) or trainer.state.fn == TrainerFn.FITTING:
            return
        if self._display is None:
            total = int(sum(trainer.num_val_batches))
            self._display = Display(
                name="held-out batch", total=total, every_s=self.every_s, console=self.console
            )
            self._display.start()
        self._display.update(batch_idx + 1)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the display; the last state stays visible."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """End the display, so that the error is readable."""
        self._close()

    def _close(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None


def numbers_line(
    metrics: Mapping[str, Tensor | float], *, also: Mapping[str, Tensor | float | int] | None = None
) -> str:
    """Format the metrics of `NUMBERS` and `TIMES`; those that were not logged are left out.

    Args:
        metrics: Metrics by the names in `g2rpo.metrics`.
        also: Numbers that a module logs with `prog_bar=True`; those of `metrics` are not repeated.

    >>> row = {"reward/total": 0.613, "reward/accuracy/math": 0.5, "time/update_s": 1.14}
    >>> numbers_line(row | {"reward/accuracy/chart": 0.6})
    'reward 0.61 | acc 0.55 | update 1.1 s'
    """
    values = {
        name: value
        for name in (*NUMBERS, *TIMES)
        if math.isfinite(value := mean_over_tasks(metrics, name))
    }
    parts = [form.format(values[name]) for name, form in NUMBERS.items() if name in values]
    parts += [
        f"{name} {float(value):.4g}"
        for name, value in (also or {}).items()
        if not _is_covered(name)
    ]
    times = ", ".join(form.format(values[name]) for name, form in TIMES.items() if name in values)
    return " | ".join([*parts, times] if times else parts)


def mean_over_tasks(metrics: Mapping[str, Tensor | float], name: str) -> float:
    """Return a metric, or the mean of its finite values over tasks; NaN if there is none.

    >>> row = {"reward/accuracy/math": 0.5, "reward/accuracy/chart": 0.75}
    >>> mean_over_tasks(row, "reward/accuracy")
    0.625
    """
    columns = (
        [name]
        if name in metrics
        else [column for column in metrics if column.startswith(f"{name}/")]
    )
    values = [value for column in columns if math.isfinite(value := float(metrics[column]))]
    return math.fsum(values) / len(values) if values else math.nan


def _is_covered(column: str) -> bool:
    return any(column == name or column.startswith(f"{name}/") for name in (*NUMBERS, *TIMES))
