"""Records in JSON and JSON Lines files, found once and read one at a time: a file may be larger
than memory.

A JSON file is one list of objects, however it is laid out; a JSON Lines file has one object on each
line. Both are read as UTF-8.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

CHUNK_CHARS = 1 << 20
CUT_CHARS = 16
"""A parse error this near the end of a window may only mean that the value continues."""
BLANKS = " \t\r\n"
BETWEEN = BLANKS + ","
LISTS_OF_RECORDS = ("messages", "conversations", "problem", "text", "options", "images")
"""Fields of a record that may be lists of objects."""
MOST_DIGITS = 300
"""Longer whole numbers are refused, because no float can hold them."""
DEEPEST = 64
"""Lists and objects in a record may be nested so deeply; later steps walk through them."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_UNWRITABLE = re.compile(r"[\0\ud800-\udfff]")
"""NUL, and halves of characters: neither files nor tokenizers take them."""


class BadRecord(ValueError):
    """A record that cannot be used; the message says where it is and why."""


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise BadRecord(
            f"a whole number of {len(digits)} digits; expected at most {MOST_DIGITS}: write a text"
        )
    return int(digits)


_decoder = json.JSONDecoder(parse_int=_whole)


def read_json(text: str) -> Any:
    """Return the value of a JSON text from a file of data.

    Raises:
        json.JSONDecodeError: If the text is no JSON.
        BadRecord: If later steps could not hold the value: it is nested too deeply, or has a number
            that is too long, a NUL or half a character.
    """
    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise BadRecord(_TOO_DEEP) from None
    refuse_unusable(value, text)
    return value


def refuse_unusable(value: Any, text: str) -> None:
    """Raise `BadRecord` if a parsed value cannot be written to files or walked through.

    Args:
        value: What was parsed.
        text: Its JSON; values without escapes and with few brackets are not looked at.
    """
    if "\\u" not in text and text.count("[") + text.count("{") <= DEEPEST:
        return
    waiting: list[tuple[Any, str, int]] = [(value, "", 0)]
    while waiting:
        item, name, depth = waiting.pop()
        if depth > DEEPEST:
            raise BadRecord(f"{name}: {_TOO_DEEP}")
        if isinstance(item, str) and (found := _UNWRITABLE.search(item)):
            what = "NUL" if found[0] == "\0" else f"half a character, {found[0]!r}"
            raise BadRecord(f"{name or 'a name of a field'}: expected plain text, got {what} in it")
        if isinstance(item, Mapping):
            waiting += [(key, "", depth) for key in item]
            waiting += [(inner, name or str(key), depth + 1) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(inner, name, depth + 1) for inner in item]


_TOO_DEEP = f"expected lists and objects at most {DEEPEST} deep, got deeper ones"


@dataclass(frozen=True, slots=True)
class Place:
    """The bytes [start, start + length) of a record in its file, and its first line (from 1)."""

    start: int
    length: int
    line: int


def rows_of(path: Path) -> Iterator[tuple[Place, dict[str, Any] | BadRecord]]:
    """Yield every record with its place, in the order of the file.

    A broken line of a JSON Lines file is yielded as `BadRecord`, and reading goes on.

    Raises:
        BadRecord: If a JSON file is broken, or holds one object instead of a list.
    """
    with path.open("rb") as file:
        first = file.read(4096).lstrip(b"\xef\xbb\xbf" + BLANKS.encode())[:1]
    if first == b"[":
        return _rows_of_list(path)
    if first == b"{":
        _refuse_one_object(path)
    return _rows_of_lines(path)


def read_row(path: Path, place: Place) -> dict[str, Any]:
    """Return the record at a place that `rows_of` yielded."""
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
        if isinstance(found, BadRecord):
            return
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
        # bytes alone would be taken for UTF-16 where they look like it
        row = read_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return BadRecord(
            f"{path}, line {place.line}: not UTF-8 ({error.reason} at byte {error.start} of the"
            " line)"
        )
    except json.JSONDecodeError as error:
        return BadRecord(
            f"{path}, line {place.line}: not JSON ({error.msg} at column {error.colno})"
        )
    except BadRecord as error:
        return BadRecord(f"{path}, line {place.line}: {error}")
    return (
        row
        if isinstance(row, dict)
        else BadRecord(f"{path}, line {place.line}: expected an object, got {type(row).__name__}")
    )


def _rows_of_list(path: Path) -> Iterator[tuple[Place, dict[str, Any] | BadRecord]]:
    """Yield one element at a time from a window over the text."""
    with path.open(encoding="utf-8", newline="") as file:
        window = _Window(path, file)
        window.skip(BLANKS + "\ufeff")
        window.skip("[")
        while window.skip(BETWEEN) != "]":
            start, line = window.bytes, window.line
            row = window.take()
            place = Place(start, window.bytes - start, line)
            if isinstance(row, BadRecord):
                row = BadRecord(f"{path}, line {line}: {row}")
            elif not isinstance(row, dict):
                row = BadRecord(
                    f"{path}, line {line}: expected an object, got {type(row).__name__}"
                )
            yield place, row


class _Window:
    """A piece of the text with a reading position; counts the bytes and lines before it."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self.file = path, file
        self.text, self.at = "", 0
        self.bytes, self.line = 0, 1

    def skip(self, characters: str) -> str:
        """Skip these characters and return the next one, without reading past it."""
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
        """Read the JSON value at the reading position; return `BadRecord` for an unusable one."""
        while True:
            begin = self.at
            try:
                value, self.at = _decoder.raw_decode(self.text, begin)
                refuse_unusable(value, self.text[begin : self.at])
            except (BadRecord, RecursionError) as error:
                end = self._end(begin) if self.at == begin else self.at
                if end is None and self._more():
                    continue
                self.at = len(self.text) if end is None else end
                value = error if isinstance(error, BadRecord) else BadRecord(_TOO_DEEP)
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

    def _end(self, begin: int) -> int | None:
        """Where a value ends by its brackets; None if that is not in the window."""
        depth = 0
        for found in _BRACKETS.finditer(self.text, begin):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
            if depth == 0:
                return found.end()
        return None

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
