"""A logger that fails in mid-run, or whose folder is removed, is left out: the run goes on.

Mistakes in its settings show at its first call, before training, and end the run as before.
"""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from g2rpo.redaction import redacted
from g2rpo.training.metrics_csv import MetricsCSV

log = logging.getLogger("g2rpo")
CALLS = (
    "log_hyperparams",
    "log_metrics",
    "log_completions",
    "log_benchmarks",
    "end_step",
    "save",
    "after_save_checkpoint",
    "close",
    "finalize",
)
"""Methods through which a run reaches a logger."""


def spared(logger: Any, key: str) -> Any:
    """Return the same logger, whose failures after its first success are logged once.

    Args:
        logger: Any logger; `metrics.csv` must not fail, so errors of its logger stay errors.
        key: Its key in the configuration, such as `logger.wandb`.
    """
    if not isinstance(logger, MetricsCSV):
        watch = _Watch(logger, key)
        logger.watched = watch.over
        for name in CALLS:
            if callable(getattr(logger, name, None)):
                setattr(logger, name, watch.over(getattr(logger, name)))
    return logger


class _Watch:
    def __init__(self, logger: Any, key: str) -> None:
        self.logger, self.key = logger, key
        self.works = self.lost = False
        self.folder: Path | None = None

    def over(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*args: Any, **options: Any) -> Any:
            if self._is_lost():
                return None
            try:
                result = call(*args, **options)
            except Exception as error:  # a service raises anything
                if not self.works:
                    raise
                self._lose(f"{type(error).__name__}: {redacted(str(error))[:300]}")
                return None
            self.works = True
            self.folder = self.folder or _folder_of(self.logger)
            return result

        return watched

    def _is_lost(self) -> bool:
        if not self.lost and self.folder is not None and not self.folder.exists():
            self._lose(f"its folder {self.folder} was removed")
        return self.lost

    def _lose(self, reason: str) -> None:
        self.lost = True
        log.warning(
            "%s: %s; it gets nothing more, and what it had is incomplete. The run goes on;"
            " metrics.csv has all numbers",
            self.key,
            reason,
        )


def _folder_of(logger: Any) -> Path | None:
    """Return the folder in which a logger keeps its files, if it exists."""
    if isinstance(logger, TensorBoardLogger):
        found = Path(logger.log_dir)
    elif getattr(logger, "run", None) is not None and hasattr(logger.run, "dir"):
        found = Path(logger.run.dir)
    else:
        return None
    return found if found.is_dir() else None
