"""`completions.jsonl` and the compressed parts that hold its earlier rows.

    completions/000000001-000000350.jsonl.gz    rows of steps 1 to 350
    completions/index.csv                       one line per part
    completions.jsonl                           the rows after the last part

The names of the parts say which steps they hold; the index is for readers. A full
`completions.jsonl` is first renamed into a part and then compressed under another name, so that
after a kill at any moment each row is found exactly once.
"""

import csv
import gzip
import json
import shutil
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any

from g2rpo.files import finish_replacing, replaced_content, replaced_file, writing

LIVE, FOLDER, INDEX = "completions.jsonl", "completions", "index.csv"
COLUMNS = ("file", "first_step", "last_step", "rows", "bytes")
"""Columns of the index; `bytes` is the size before compression."""


def completion_files(folder: Path) -> list[Path]:
    """Return the files of a run folder that hold completions, in the order of their rows."""
    live = folder / LIVE
    return [*_parts(folder), *([live] if live.exists() else [])]


def opened(path: Path) -> TextIOWrapper:
    """Open a file of text, compressed or not; bytes that are not UTF-8 become question marks."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")  # type: ignore[return-value]
    return path.open(encoding="utf-8", errors="replace")


class CompletionParts:
    """Appends rows, and moves them into a compressed part when they are many.

    Args:
        folder: The run folder.
        part_bytes: Size of `completions.jsonl` in bytes at which it becomes a part.
    """

    def __init__(self, folder: Path, part_bytes: float) -> None:
        self.folder, self.live, self.part_bytes = folder, folder / LIVE, part_bytes

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Append the rows of one rollout batch, which all have the same step."""
        with writing(self.live), self.live.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            size = file.tell()
        if rows and size >= self.part_bytes:
            self._rotate(rows[-1]["step"])

    def forget_after(self, step: int) -> None:
        """Remove the rows of later steps, which a resumed run writes again, and partial lines.

        A part that holds earlier rows as well becomes `completions.jsonl` again.
        """
        finish_replacing(self.live)
        for part in _parts(self.folder):
            if part.suffix != ".gz":
                _compress(part)  # first, because the kill may have left the compressed file too
        parts = _parts(self.folder)
        for part in reversed(parts):
            first, last = _steps(part)
            if last > step:
                self.live.unlink(missing_ok=True)  # its rows are later than those of the part
                if first <= step:
                    self._restore(part)
                part.unlink()
        if self.live.exists():
            _truncate(self.live, step)
        if parts:
            self._write_index()

    def _rotate(self, last: int) -> None:
        with self.live.open("rb") as file:
            first = json.loads(file.readline())["step"]
        part = self.folder / FOLDER / f"{first:09d}-{last:09d}.jsonl"
        with writing(part):
            part.parent.mkdir(exist_ok=True)
            self.live.rename(part)
            self.live.touch()
        _compress(part)
        self._write_index()

    def _restore(self, part: Path) -> None:
        with _bytes_of(part) as source, replaced_content(self.live) as target:
            shutil.copyfileobj(source, target)

    def _write_index(self) -> None:
        """List the parts; only those that the index does not list yet are read."""
        index = self.folder / FOLDER / INDEX
        known = {row[0]: row for row in _table(index)}
        with replaced_file(index) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(known.get(p.name) or _entry(p) for p in _parts(self.folder))


def _parts(folder: Path) -> list[Path]:
    """Return the parts in order; a plain file is one whose compression was interrupted."""
    found = (folder / FOLDER).glob("*.jsonl*")
    return sorted(
        path
        for path in found
        if path.suffix == ".jsonl" or (path.suffix == ".gz" and not path.with_suffix("").exists())
        if not path.name.startswith(".")
    )


def _compress(part: Path) -> None:
    """Replace a part by its compressed file; the same rows always give the same bytes."""
    target = part.with_name(f"{part.name}.gz")
    with (
        part.open("rb") as source,
        replaced_content(target) as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as file,
    ):
        shutil.copyfileobj(source, file)
    part.unlink()


def _bytes_of(part: Path) -> BufferedReader | gzip.GzipFile:
    return gzip.open(part, "rb") if part.suffix == ".gz" else part.open("rb")


def _steps(part: Path) -> tuple[int, int]:
    first, last = part.name.split(".")[0].split("-")
    return int(first), int(last)


def _table(index: Path) -> Iterator[list[str]]:
    if index.exists():
        with index.open(newline="", encoding="utf-8") as file:
            yield from csv.reader(file)


def _entry(part: Path) -> list[str]:
    rows = size = 0
    with _bytes_of(part) as file:
        for line in file:
            rows, size = rows + 1, size + len(line)
    return [part.name, *map(str, _steps(part)), str(rows), str(size)]


def _truncate(path: Path, step: int) -> None:
    """Cut a file after its rows up to a step; a partial last line, left by a kill, goes too."""
    end = 0
    with path.open("r+b") as file:  # line by line: the file can be large
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
            end += len(line)
        file.truncate(end)
