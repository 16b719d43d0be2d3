"""Writes `metrics.csv`: one row per rollout batch and validation, by `step`.

A resumed run appends after the last row before its checkpoint.
"""

import csv
import io
import logging
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from g2rpo.files import write_whole
from g2rpo.metrics import checked

log = logging.getLogger("g2rpo")


class MetricsCSV(Logger):
    """Logger that writes `folder/metrics.csv`.

    When a new column appears, the file is rewritten atomically with empty cells in earlier rows.
    """

    def __init__(self, *, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] = ["step"]
        self._rows: list[dict[str, str]] = []
        self._torn = False
        if self.path.exists():
            self._read(self.path.read_bytes())

    def _read(self, content: bytes) -> None:
        """Read the rows of an earlier part of the run; a killed one may leave half a row."""
        whole, newline, rest = content.rpartition(b"\n")
        text = (whole + newline).decode("utf-8", errors="replace")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = list(reader.fieldnames or ["step"])
        self._torn = bool(rest)
        if "step" not in columns:
            log.warning("%s: has no column step; its rows are left out", self.path)
            self._torn = True
            return
        self._columns = columns
        for row in reader:
            # DictReader has None for cells that are missing, and as the key of those too many
            if None in row or None in row.values() or not row["step"].isdecimal():
                log.warning(
                    "%s, line %d: expected %d cells that begin with a step; left out",
                    self.path,
                    reader.line_num,
                    len(columns),
                )
                self._torn = True
            else:
                self._rows.append(row)

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
        new = [name for name in row if name not in self._columns]
        self._columns += sorted(new)
        same = next((own for own in reversed(self._rows) if own["step"] == row["step"]), None)
        if same is not None:
            same |= row
        else:
            self._rows.append(row)
        if new or same is not None or len(self._rows) == 1 or self._torn:
            self._rewrite()
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, restval="").writerow(row)

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that a resumed run will repeat."""
        kept = [row for row in self._rows if int(row["step"]) <= step]
        if len(kept) != len(self._rows):
            self._rows = kept
            self._rewrite()

    def _rewrite(self) -> None:
        self._torn = False
        file = io.StringIO()
        writer = csv.DictWriter(file, self._columns, restval="")
        writer.writeheader()
        writer.writerows(self._rows)
        write_whole(self.path, file.getvalue())
