"""Writes `metrics.csv`: one row per rollout batch and validation, by `step`.

A resumed run appends after the last row before its checkpoint.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from g2rpo.files import replaced_file, writing
from g2rpo.metrics import checked


class MetricsCSV(Logger):
    """Logger that writes `folder/metrics.csv`. Earlier rows are not kept in memory.

    When a new column appears, or numbers join an earlier row, the file is rewritten atomically.
    """

    def __init__(self, *, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] = ["step"]
        self._last_step = -1
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file), self._columns)
            self._last_step = max((int(row["step"]) for row in self._rows()), default=-1)

    @property
    def name(self) -> str:
        """Not part of any path."""
        return "metrics"

    @property
    def version(self) -> str:
        """Not part of any path."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The composed configuration lies in `.hydra/` already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add numbers to the row of a step.

        Args:
            metrics: Numbers by declared name.
            step: `trainer.global_step`, the number of optimizer updates so far; 0 before training.
        """
        numbers = {
            name: repr(float(value)) for name, value in checked(metrics).items() if name != "epoch"
        }
        row = {"step": str(step or 0), **numbers}
        new = sorted(name for name in row if name not in self._columns)
        self._columns += new
        if new or int(row["step"]) <= self._last_step or not self.path.exists():
            self._rewrite(self._joined(row))
        else:
            with (
                writing(self.path),
                self.path.open("a", newline="", encoding="utf-8") as file,
            ):
                csv.DictWriter(file, self._columns, restval="").writerow(row)
        self._last_step = max(self._last_step, int(row["step"]))

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that a resumed run will repeat, and a partial last line."""
        if self.path.exists() and (self._last_step > step or not _ends_whole(self.path)):
            self._rewrite(row for row in self._rows() if int(row["step"]) <= step)
            self._last_step = min(self._last_step, step)

    def _rows(self) -> Iterator[dict[str, str]]:
        """Yield the rows on disk; a partial last line, left by a killed run, is left out."""
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(line for line in file if line.endswith("\n")):
                if not (row.get("step") or "").isdecimal():
                    raise ValueError(
                        f"{self.path}: expected a whole number under 'step', got"
                        f" {row.get('step')!r}; delete the line"
                    )
                yield row

    def _joined(self, new: dict[str, str]) -> Iterator[dict[str, str]]:
        """Yield the rows on disk with a new one, which joins the row of its step."""
        found = False
        for row in self._rows():
            same = row["step"] == new["step"]
            found |= same
            yield row | new if same else row
        if not found:
            yield new

    def _rewrite(self, rows: Iterable[dict[str, str]]) -> None:
        with replaced_file(self.path) as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) in (b"", b"\n")
