"""Records in JSON and JSON Lines files, found once and read one at a time: a file may be larger
than memory.

A JSON file is one list of objects, however it is laid out; a JSON Lines file has one object on each
line. Both are read as UTF-8.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

CHUNK_CHARS = 1 << 20
CUT_CHARS = 16
"""What was cut off at the end of a window makes the parser stop this near the end, or inside a
string.
"""
BLANKS = " \t\r\n"
BETWEEN = BLANKS + ","
LISTS_OF_RECORDS = ("messages", "conversations", "problem", "text", "options", "images")
"""Fields of a record that may be lists of objects."""
_decoder = json.JSONDecoder()


class BadRecord(ValueError):
    """A record that cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: bytes [start, start + length) of the file, beginning on `line`,
    counted from 1.
    """

    start: int
    length: int
    line: int


def rows_of(path: Path) -> Iterator[tuple[Place, dict[str, Any] | BadRecord]]:
    """Every record with its place, in the order of the file.

    A broken line of a JSON Lines file comes as the `BadRecord` it is, and reading goes on; a broken
    JSON file raises it, since nothing behind the break can be found.
    """
    with path.open("rb") as file:
        first = file.read(4096).lstrip(b"\xef\xbb\xbf" + BLANKS.encode())[:1]
    if first == b"[":
        return _rows_of_list(path)
    if first == b"{":
        _refuse_one_object(path)
    return _rows_of_lines(path)


def read_row(path: Path, place: Place) -> dict[str, Any]:
    """The record at a place that `rows_of` gave."""
    with path.open("rb") as file:
        file.seek(place.start)
        row: dict[str, Any] = json.loads(file.read(place.length).decode("utf-8-sig"))
    return row


def _refuse_one_object(path: Path) -> None:
    """Raise `BadRecord` if the whole file is one object that is not itself a record on a line."""
    with path.open(encoding="utf-8", newline="") as file:
        window = _Window(path, file)
        try:
            window.skip(BLANKS + "\ufeff")
            first = window.line
            found = window.take()
        except BadRecord:
            return  # a broken line is reported with its number later
        lines = window.line - first
        try:
            window.skip(BLANKS)
            return  # something follows: one object a line
        except BadRecord:
            pass  # the end of the file
    lists = [
        name
        for name, value in found.items()
        if isinstance(value, list)
        and value
        and isinstance(value[0], dict)
        and name not in LISTS_OF_RECORDS
    ]
    if lines or lists:
        hint = f"keep only the list under {lists[0]!r}" if lists else "put it between [ and ]"
        raise BadRecord(
            f"{path}: expected a list of records, found one object with the keys"
            f" {', '.join(map(repr, found))}; {hint}"
        )


def _rows_of_lines(path: Path) -> Iterator[tuple[Place, dict[str, Any] | BadRecord]]:
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            place, start = Place(start, len(line), number), start + len(line)
            if line.strip():
                yield place, _parsed(path, place, line.rstrip(b"\r\n"))


def _parsed(path: Path, place: Place, line: bytes) -> dict[str, Any] | BadRecord:
    try:
        row = json.loads(
            line.decode("utf-8-sig")
        )  # bytes alone would be taken for UTF-16 where they look like it
    except UnicodeDecodeError as error:
        return BadRecord(
            f"{path}, line {place.line}: not UTF-8 ({error.reason} at byte {error.start} of the"
            " line)"
        )
    except json.JSONDecodeError as error:
        return BadRecord(
            f"{path}, line {place.line}: not JSON ({error.msg} at column {error.colno})"
        )
    return (
        row
        if isinstance(row, dict)
        else BadRecord(f"{path}, line {place.line}: expected an object, got {type(row).__name__}")
    )


def _rows_of_list(path: Path) -> Iterator[tuple[Place, dict[str, Any] | BadRecord]]:
    """One element at a time, from a window over the text; bytes and lines are counted along."""
    with path.open(encoding="utf-8", newline="") as file:
        window = _Window(path, file)
        window.skip(BLANKS + "\ufeff")
        window.skip("[")
        while window.skip(BETWEEN) != "]":
            start, line = window.bytes, window.line
            row = window.take()
            place = Place(start, window.bytes - start, line)
            yield (
                place,
                (
                    row
                    if isinstance(row, dict)
                    else BadRecord(
                        f"{path}, line {line}: expected an object, got {type(row).__name__}"
                    )
                ),
            )


class _Window:
    """A piece of the text, the reading position in it, and what was passed so far."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self.file = path, file
        self.text, self.at = "", 0
        self.bytes, self.line = 0, 1

    def skip(self, characters: str) -> str:
        """Goes past characters of a kind; returns the one that stands there then."""
        begin = self.at
        while True:
            while self.at < len(self.text) and self.text[self.at] in characters:
                self.at += 1
            if self.at < len(self.text):
                self._passed(begin)
                return self.text[self.at]
            self._passed(begin)
            if not self._more():
                raise BadRecord(
                    f"{self.path}, line {self.line}: the list is not closed; is the file cut off?"
                )
            begin = self.at

    def take(self) -> Any:
        """The JSON value at the reading position."""
        while True:
            begin = self.at
            try:
                value, self.at = _decoder.raw_decode(self.text, begin)
            except json.JSONDecodeError as error:
                cut = (
                    error.msg.startswith("Unterminated string")
                    or error.pos > len(self.text) - CUT_CHARS
                )
                if cut and self._more():
                    continue
                line = self.line + self.text.count("\n", self.at, error.pos)
                raise BadRecord(
                    f"{self.path}, line {line}: not JSON ({error.msg}); is the file cut off, or a"
                    " comma missing?"
                ) from None
            self._passed(begin)
            return value

    def _passed(self, begin: int) -> None:
        passed = self.text[begin : self.at]
        self.bytes += len(passed.encode())
        self.line += passed.count("\n")

    def _more(self) -> bool:
        try:
            chunk = self.file.read(CHUNK_CHARS)
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n", self.at)
            raise BadRecord(
                f"{self.path}, after line {line}: not UTF-8 ({error.reason}); convert the file"
            ) from None
        self.text, self.at = self.text[self.at :] + chunk, 0
        return bool(chunk)
