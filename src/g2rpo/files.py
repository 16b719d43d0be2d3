"""Atomic writes: a reader sees the old file or folder until the new one is complete.

What the disk refuses becomes a `DiskError`, one sentence with the path and the free space.
"""

import errno
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

log = logging.getLogger("g2rpo")
STALLED_S = 60.0
"""Seconds after which a write that has not ended is reported."""
DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE),
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ETIMEDOUT),
}
"""Errors that are about the disk and not about the program."""


class DiskError(OSError):
    """A file cannot be written; the message is a sentence for the user."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the disk within the block into a `DiskError` about `path`.

    torch and safetensors hide such errors in their own; these are found too. If the block takes
    more than `STALLED_S` seconds, a warning names the path.
    """
    alarm = threading.Timer(STALLED_S, _warn_of_stall, [path])
    alarm.daemon = True
    alarm.start()
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        code = _disk_code(error)
        if code is None or (code == errno.ENOENT and path.parent.exists()):
            raise
        raise DiskError(refusal(path, os.strerror(code))) from error
    finally:
        alarm.cancel()


def refusal(path: Path, why: str) -> str:
    """Return the sentence that `path` cannot be written; it says how much space is free there."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    gone = "" if path.parent.exists() else f" ({path.parent} does not exist)"
    return (
        f"{path}: cannot be written: {why}{gone}; {free / 1e9:.3f} GB are free in {folder}."
        " Checkpoints in the run folder are complete; make room, or copy it elsewhere, and resume"
    )


def _disk_code(error: BaseException | None) -> int | None:
    """Return the number of the disk's error behind an exception; None if there is none."""
    while error is not None:
        found = re.search(r"\[Errno (\d+)\]|\(os error (\d+)\)", str(error))
        code = error.errno if isinstance(error, OSError) else None
        if code is None and found:
            code = int(found[1] or found[2])
        if code in DISK:
            return code
        error = error.__cause__ or error.__context__
    return None


def _warn_of_stall(path: Path) -> None:
    log.warning(
        "%s: has not been written for %.0f s; the file system may have stalled, and the run waits",
        path,
        STALLED_S,
    )


def write_whole(path: Path, text: str) -> None:
    """Replace a file by `text` in UTF-8 atomically, and create its folder.

    Lone surrogates become question marks.
    """
    with replaced_file(path) as file:
        file.write(text)


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[str]]:
    """Yield a text file that takes the place of `path` when the block ends without an error."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("w", encoding="utf-8", errors="replace", newline="") as file:
                yield file
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        unfinished.replace(path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends without an error.

    A folder cannot be renamed over another one, so a replacement takes two renames. After a kill
    between them `path` is missing until `finish_replacing` is called.
    """
    with writing(path):
        new = new_folder(path)
        try:
            yield new
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        put_in_place(path)


@contextmanager
def replaced_content(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the place of `path` once it is complete and on the disk."""
    with writing(path):
        new = new_file(path)
        try:
            with new.open("wb") as file:
                yield file
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)  # it would take the space of the next attempt
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
