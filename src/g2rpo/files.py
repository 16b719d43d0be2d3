"""Atomic writes: a reader sees the old file or folder until the new one is complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def write_whole(path: Path, text: str) -> None:
    """Replace a file by `text` in UTF-8 atomically, and create its folder.

    Lone surrogates become question marks.
    """
    with replaced_file(path) as file:
        file.write(text)


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[str]]:
    """Yield a text file that takes the place of `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", errors="replace", newline="") as file:
            yield file
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.replace(path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends without an error.

    A folder cannot be renamed over another one, so a replacement takes two renames. After a kill
    between them `path` is missing until `finish_replacing` is called.
    """
    new = new_folder(path)
    try:
        yield new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    put_in_place(path)


def new_folder(path: Path) -> Path:
    """Create the empty folder in which the next content of `path` is written."""
    finish_replacing(path)
    new = _new(path)
    _remove(new)
    new.mkdir(parents=True)
    return new


def new_file(path: Path) -> Path:
    """Return the path at which the next content of the file `path` is written."""
    finish_replacing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(_new(path))
    return _new(path)


def put_in_place(path: Path) -> None:
    """Replace `path` by its `new_folder` or `new_file`, whose content is complete.

    Everything is on the disk before the first rename, so that not even a power failure leaves
    partial content.
    """
    new, old = _new(path), _old(path)
    for file in new.rglob("*"):
        sync(file)
    sync(new)
    if path.exists() and (new.is_dir() or path.is_dir()):
        path.rename(old)
    new.rename(path)
    sync(path.parent)
    _remove(old)


def finish_replacing(path: Path) -> Path:
    """Complete a replacement of `path` that a kill interrupted, and return `path`.

    The old content is renamed only after the new one is complete, so the new one is used.
    """
    new, old = _new(path), _old(path)
    if old.exists():
        if not path.exists():
            # Another process of the same run may have been faster.
            with suppress(FileNotFoundError):
                new.rename(path)
        _remove(old)
    return path


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
