"""Records as they were found, and their images as files.

A row source yields `(place, record)`: the place where a person finds the record
(`MMStar.tsv, line 12`), and its original columns.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from g2rpo.image import undecoded

IMAGE_COLUMNS = (
    "image",
    "images",
    "decoded_image",
    "img",
    "rgb_path",
    "image_path",
    "path",
    "mask",
    "mask_path",
    "depth_image",
    *(f"image_{number}" for number in range(1, 8)),
)
"""Columns that hold images or their paths."""
ID_COLUMNS = (
    "index",
    "id",
    "pid",
    "question_id",
    "questionId",
    "sample_index",
    "figure_id",
    "problem_id",
)
Placed = tuple[str, Mapping[str, Any]]


class Unreadable(Mapping[str, Any]):
    """A record that could not be read.

    Any access to its columns raises `ValueError` with the reason. Code that turns records into rows
    then counts and reports it like any other unusable record.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __getitem__(self, name: str) -> Any:
        raise ValueError(self.reason)

    def __iter__(self) -> Iterator[str]:
        return iter(("reason",))

    def __len__(self) -> int:
        return 1


def with_images(columns: Mapping[str, Any], mend: Callable[[str, Any], Any]) -> Mapping[str, Any]:
    """Return the record with `mend(name, value)` applied to its image columns.

    If `mend` raises `ValueError`, the result is `Unreadable`.
    """
    try:
        return {
            name: mend(name, value) if name in IMAGE_COLUMNS and value is not None else value
            for name, value in columns.items()
        }
    except ValueError as error:
        return Unreadable(str(error))


def numbered(columns: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the record, with its number as `index` if it has no id."""
    return (
        dict(columns)
        if any(columns.get(name) is not None for name in ID_COLUMNS)
        else {"index": number, **columns}
    )


def passes(columns: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Return whether each column named in `where` has one of the values listed there."""
    return all(str(columns.get(name)) in map(str, values) for name, values in where.items())


def existing(path: Path) -> str:
    """Return the path of an image file; raise `ValueError` if it does not exist."""
    try:
        found = path.is_file()
    except OSError:  # such as a name that is too long
        found = False
    if not found:
        raise ValueError(f"image: no such file: {str(path)[:500]}")
    return str(path)


class ImageStore:
    """A folder of images named by a hash of their content, so shared images are stored once.

    Rows hold paths, because thousands of decoded pages would not fit into memory.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()

    def keep(self, data: bytes) -> str:
        """Store the bytes of an image file and return its path.

        Raises:
            ValueError: If the bytes do not begin like an image.
        """
        try:
            with undecoded(data) as image:
                suffix = (image.format or "png").lower()
        except ValueError as error:
            raise ValueError(f"image: {len(data)} bytes that are not an image ({error})") from None
        name = hashlib.blake2b(data, digest_size=16).hexdigest()
        path = self.folder / name[:2] / f"{name}.{suffix}"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f".{path.name}.{os.getpid()}")
            unfinished.write_bytes(data)
            unfinished.replace(path)
        return str(path)

    def keep_base64(self, text: str) -> str:
        """Store an image given as base64 text and return its path."""
        try:
            data = base64.b64decode(
                text.removeprefix("data:").rpartition("base64,")[2], validate=True
            )
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"image: expected base64, got {text[:40]!r} ({error})") from None
        return self.keep(data)
