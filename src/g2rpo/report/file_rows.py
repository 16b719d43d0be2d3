"""Reads rows of the files in a run folder; errors name file, line and key."""

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from g2rpo.tasks import checked_task
from g2rpo.training.completion_parts import opened


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object, with the place it came from."""

    place: str
    """File and line for messages: `completions.jsonl, line 17`."""
    fields: Mapping[str, Any]

    def text(self, key: str) -> str:
        """Return a string."""
        return self._value(key, str, "text")

    def number(self, key: str, *, optional: bool = False) -> float:
        """Return a number; null stands for a failed computation and becomes NaN.

        With `optional`, a missing number becomes NaN too.
        """
        if optional and key not in self.fields:
            return math.nan
        value = self._value(key, int | float | None, "a number or null")
        return math.nan if value is None else float(value)

    def whole(self, key: str) -> int:
        """Return a whole number."""
        return self._value(key, int, "a whole number")

    def task(self) -> str:
        """Return the name of the task."""
        task = self.text("task")
        try:
            checked_task(task)
        except ValueError as error:
            raise ValueError(f"{self.place}: {error}") from None
        return task

    def inner(self, key: str) -> Self:
        """Return a JSON object inside this one."""
        fields = self._value(key, Mapping, "a JSON object")
        return type(self)(f"{self.place}: {key}", fields)

    def list_of(self, key: str) -> list[Self]:
        """Return the JSON objects in a list."""
        items = self._value(key, list, "a list")
        named = type(self)(self.place, {f"{key}[{i}]": item for i, item in enumerate(items)})
        return [named.inner(name) for name in named.fields]

    def _value(self, key: str, kind: Any, words: str) -> Any:
        if key not in self.fields:
            raise ValueError(f"{self.place}: key {key!r} is missing")
        value = self.fields[key]
        if not isinstance(value, kind):
            raise ValueError(f"{self.place}: {key}: expected {words}, got {value!r}")
        return value


def json_rows(path: Path, name: str, notes: list[str]) -> Iterator[Row]:
    """Yield the rows of a JSON Lines file.

    A last line that was cut while it was written is left out and noted; any other broken line
    raises `ValueError`.
    """
    with opened(path) as lines:
        for number, line in enumerate(_readable(lines, name), start=1):
            if not line.strip():
                continue
            try:
                yield Row(f"{name}, line {number}", json_object(line))
            except ValueError as error:
                if line.endswith("\n"):
                    raise ValueError(
                        f"{name}, line {number}: {error}; mend or delete the line"
                    ) from None
                notes.append(
                    f"{name}, line {number}, was cut off while it was written; it is left out."
                )


def _readable(lines: Iterable[str], name: str) -> Iterator[str]:
    try:
        yield from lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{name}: {error}; restore or delete the file") from None


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object; raises `ValueError` with the text if it is something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object, got {shortened(text)!r} ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {shortened(text)!r}")
    return value


def metric_rows(path: Path, notes: list[str]) -> dict[int, dict[str, float]]:
    """Return `{step: {column: value}}` without empty cells.

    Rows of the same step, which a resumed run writes, are merged; the later value counts. A partial
    last line is left out and noted; any other broken line raises `ValueError`.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if text and not text.endswith("\n"):
        notes.append(
            f"metrics.csv, line {text.count(chr(10)) + 1}, was cut off while it was written; it is"
            " left out."
        )
        text = text[: text.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(text))
    header = next(reader, [])
    if header and "step" not in header:
        raise ValueError(f"metrics.csv, line 1: expected a column 'step', got {', '.join(header)}")
    rows: dict[int, dict[str, float]] = {}
    for cells in reader:
        row = _metric_row(header, cells, f"metrics.csv, line {reader.line_num}")
        rows.setdefault(int(row["step"]), {}).update(row)
    return rows


class StepSpan(NamedTuple):
    """A row of timeline.csv: who did what, in seconds since the run began."""

    step: int
    who: str
    what: str
    start_s: float
    end_s: float


def timeline_rows(path: Path) -> list[StepSpan]:
    """Return the rows of timeline.csv, without a partial last line; none without the file.

    Raises:
        ValueError: if a line is broken, with its number.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        next(file, None)
        rows = [*csv.reader(line for line in file if line.endswith("\n"))]
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            step, who, what, start, end = row
            found.append(StepSpan(int(step), who, what, float(start), float(end)))
        except ValueError:
            raise ValueError(
                f"{path.name}, line {number}: expected step, who, what, start_s and end_s, got"
                f" {shortened(','.join(row))!r}; mend or delete the line"
            ) from None
    return found


def _metric_row(header: list[str], cells: list[str], place: str) -> dict[str, float]:
    if len(cells) != len(header):
        raise ValueError(
            f"{place}: expected {len(header)} cells, got {len(cells)}; mend or delete the line"
        )
    row: dict[str, float] = {}
    for column, cell in zip(header, cells, strict=True):
        try:
            row |= {column: float(cell)} if cell else {}
        except ValueError:
            raise ValueError(
                f"{place}: {column}: expected a number, got {shortened(cell)!r}; mend or delete the"
                " line"
            ) from None
    if not row.get("step", math.nan).is_integer():
        raise ValueError(
            f"{place}: step: expected a whole number, got"
            f" {dict(zip(header, cells, strict=True))['step']!r}"
        )
    return row


def shortened(text: str, limit: int = 60) -> str:
    """Return the text, cut to `limit` characters.

    >>> shortened("abcdefgh", 5)
    'ab...'
    """
    text = text.rstrip("\n")
    return text if len(text) <= limit else text[: limit - 3] + "..."
