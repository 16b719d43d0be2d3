"""Rows of the run folder's files, checked field by field: a broken one is named by file, line and key."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from g2rpo.prompt import task_index


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object, with the place it came from."""

    place: str
    """For messages: `completions.jsonl, line 17`."""
    fields: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A string."""
        value = self._value(key)
        if not isinstance(value, str):
            raise ValueError(f"{self.place}: {key}: expected text, got {value!r}")
        return value

    def number(self, key: str) -> float:
        """A number; null, which stands for one that could not be computed, is NaN."""
        value = self._value(key)
        if value is None:
            return math.nan
        if not isinstance(value, int | float):
            raise ValueError(f"{self.place}: {key}: expected a number or null, got {value!r}")
        return float(value)

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self._value(key)
        if not isinstance(value, int):
            raise ValueError(f"{self.place}: {key}: expected a whole number, got {value!r}")
        return value

    def task(self) -> str:
        """One of `TASKS`."""
        task = self.text("task")
        try:
            task_index(task)
        except ValueError as error:
            raise ValueError(f"{self.place}: {error}") from None
        return task

    def inner(self, key: str, value: Any) -> Self:
        """A JSON object inside this one."""
        if not isinstance(value, Mapping):
            raise ValueError(f"{self.place}: {key}: expected a JSON object, got {value!r}")
        return type(self)(f"{self.place}: {key}", value)

    def list_of(self, key: str) -> list[Self]:
        """JSON objects in a list."""
        value = self._value(key)
        if not isinstance(value, list):
            raise ValueError(f"{self.place}: {key}: expected a list, got {value!r}")
        return [self.inner(f"{key}[{i}]", item) for i, item in enumerate(value)]

    def _value(self, key: str) -> Any:
        if key not in self.fields:
            raise ValueError(f"{self.place}: key {key!r} is missing")
        return self.fields[key]


def json_rows(path: Path, name: str, notes: list[str]) -> Iterator[Row]:
    """The rows of a JSON-lines file.

    A last line that was cut while it was written is left out and noted; any other broken line raises `ValueError`.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield Row(f"{name}, line {number}", json_object(line))
            except ValueError as error:
                if line.endswith("\n"):
                    raise ValueError(f"{name}, line {number}: {error}; mend or delete the line") from None
                notes.append(f"{name}, line {number}, was cut off while it was written; it is left out.")


def json_object(text: str) -> dict[str, Any]:
    """A JSON object, or a `ValueError` that says what is there instead."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object, got {shortened(text)!r} ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {shortened(text)!r}")
    return value


def metric_rows(path: Path, notes: list[str]) -> dict[int, dict[str, float]]:
    """`{step: {column: value}}`, empty cells left out. Rows of one step are merged, the later value counts (a resumed run).

    A last line without a line end was cut while it was written: it is left out and noted. Any other broken line raises `ValueError`.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if text and not text.endswith("\n"):
        notes.append(f"metrics.csv, line {text.count(chr(10)) + 1}, was cut off while it was written; it is left out.")
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


def _metric_row(header: list[str], cells: list[str], place: str) -> dict[str, float]:
    if len(cells) != len(header):
        raise ValueError(f"{place}: expected {len(header)} cells, got {len(cells)}; mend or delete the line")
    row: dict[str, float] = {}
    for column, cell in zip(header, cells, strict=True):
        try:
            row |= {column: float(cell)} if cell else {}
        except ValueError:
            raise ValueError(f"{place}: {column}: expected a number, got {shortened(cell)!r}; mend or delete the line") from None
    if not row.get("step", math.nan).is_integer():
        raise ValueError(f"{place}: step: expected a whole number, got {dict(zip(header, cells, strict=True))['step']!r}")
    return row


def shortened(text: str, limit: int = 60) -> str:
    """The text itself, or its beginning.

    >>> shortened("abcdefgh", 5)
    'ab...'
    """
    text = text.rstrip("\n")
    return text if len(text) <= limit else text[: limit - 3] + "..."
