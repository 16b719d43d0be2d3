"""Reading the columns of records from the Hub, from VLMEvalKit's TSV files or from JSON Lines.

The Hub gives lists, dicts and PIL images; a TSV gives lists as text and images as base64. A cell is
missing if it is None, NaN or an empty text. The text `None` is an answer like any other, so tables
must be read without turning such words into NaN (`pandas.read_csv(..., keep_default_na=False)`). An
answer that is NaN is refused.
"""

import ast
import hashlib
import json
import math
import os
import string
from collections.abc import Mapping
from typing import Any

from PIL import Image

from g2rpo.image import image_size, inline_bytes, is_inline, undecoded

IDS = ("index", "id", "pid", "question_id", "questionId", "sample_index", "figure_id")
IMAGES = ("decoded_image", "image", "images", "image_path")


def is_missing(cell: Any) -> bool:
    """Return whether a cell holds nothing."""
    return (
        cell is None
        or (isinstance(cell, float) and math.isnan(cell))
        or (isinstance(cell, str) and not cell.strip())
    )


def first(record: Mapping[str, Any], *columns: str) -> Any:
    """Return the first of the columns that is not missing, else None."""
    return next((record[column] for column in columns if not is_missing(record.get(column))), None)


def needed(benchmark: str, record: Mapping[str, Any], *columns: str) -> Any:
    """Return the first of the columns that is not missing.

    Raises:
        ValueError: If all are missing; the message names the record and the columns.
    """
    cell = first(record, *columns)
    if cell is None:
        have = (
            ", ".join(sorted(column for column in record if not is_missing(record[column])))
            or "nothing"
        )
        hint = (
            " Read tables without turning words such as None or NA into NaN."
            if any(column in record for column in columns)
            else ""
        )
        raise ValueError(
            f"{benchmark}, record {first(record, *IDS)!r}: column {' or '.join(columns)} is missing"
            f" or empty; the record has {have}.{hint}"
        )
    return cell


def row_of(
    benchmark: str, record: Mapping[str, Any], *also: str, question: tuple[str, ...] = ("question",)
) -> dict[str, Any]:
    """Return a row with `id`, `question`, `images`, and those of `also` that the record has."""
    row: dict[str, Any] = {
        "id": identity(record),
        "question": text_of(needed(benchmark, record, *question)),
        "images": images_of(record),
    }
    return row | {
        column: plain_value(record[column]) for column in also if not is_missing(record.get(column))
    }


def text_of(cell: Any) -> str:
    """Return a cell as text.

    A whole number read as a float loses its `.0`: pandas makes floats of a column with gaps.

    >>> text_of(3.0), text_of(2.5), text_of("3.0"), text_of(None)
    ('3', '2.5', '3.0', '')
    """
    if is_missing(cell):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def plain_value(cell: Any) -> Any:
    """Convert numpy arrays and scalars to Python values."""
    return cell.tolist() if hasattr(cell, "tolist") and not isinstance(cell, Image.Image) else cell


def list_of(cell: Any) -> list[Any] | None:
    """Return a cell as a list; None if it is neither a sequence nor the text of a list.

    The text may be JSON or Python.

    >>> list_of("['a', 'b']"), list_of('["a"]'), list_of("a"), list_of(("a",))
    (['a', 'b'], ['a'], None, ['a'])
    """
    cell = plain_value(cell)
    if isinstance(cell, str):
        if not cell.lstrip().startswith("["):
            return None
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(cell.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return value if isinstance(value, list) else None
        return None
    return list(cell) if isinstance(cell, list | tuple) else None


def choices_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the options by letter.

    They are in columns A, B, ..., where a missing cell leaves its letter out, or in a list in
    `options`, `choices` or `answer_options`.

    >>> choices_of({"A": "cat", "B": "dog", "C": float("nan")})
    {'A': 'cat', 'B': 'dog'}
    >>> choices_of({"options": "['cat', 'None']"})
    {'A': 'cat', 'B': 'None'}
    """
    columns = {
        letter: text_of(record[letter])
        for letter in string.ascii_uppercase
        if not is_missing(record.get(letter))
    }
    if columns:
        return columns
    cell = first(record, "choices", "options", "answer_options")
    if isinstance(cell, Mapping):
        return {
            str(letter): text_of(option)
            for letter, option in cell.items()
            if not is_missing(option)
        }
    return {
        string.ascii_uppercase[place]: str(option)
        for place, option in enumerate((list_of(cell) or [])[:26])
    }


def images_of(record: Mapping[str, Any], *columns: str) -> list[Any]:
    """Return the images of the first column that has any, as PIL images or paths.

    Raises:
        ValueError: If a cell is neither; the message names the column.
    """
    for column in columns or IMAGES:
        cell = plain_value(record.get(column))
        if is_missing(cell):
            continue
        cells = list_of(cell)
        found = [cell] if cells is None else cells
        images = [_image(item, column, record) for item in found if not is_missing(item)]
        if images:
            return images
    return []


def needed_image(benchmark: str, record: Mapping[str, Any], *columns: str) -> Any:
    """Return the image in the first column that has any, as a PIL image or a path.

    Raises:
        ValueError: If no column has an image; the message names the columns.
    """
    needed(benchmark, record, *columns)
    images = images_of(record, *columns)
    if not images:
        raise ValueError(
            f"{benchmark}, record {first(record, *IDS)!r}: column {' or '.join(columns)} has no"
            " image"
        )
    return images[0]


def size_px(image: Any) -> tuple[int, int]:
    """Return width and height in pixels of a PIL image or an image file, after EXIF rotation.

    Raises:
        ValueError: If the file is not an image.
    """
    try:
        return image_size(image)
    except ValueError as error:
        raise ValueError(f"image {image} cannot be read ({error})") from error


def identity(record: Mapping[str, Any]) -> str:
    """Return the id or index of a record, else a reproducible digest of its texts and images."""
    cell = first(record, *IDS)
    if cell is not None:
        return text_of(plain_value(cell))
    digest = hashlib.sha256()
    for column in sorted(record):
        cell = record[column]
        digest.update(cell.tobytes() if isinstance(cell, Image.Image) else repr(cell).encode())
    return digest.hexdigest()[:16]


def _image(cell: Any, column: str, record: Mapping[str, Any]) -> Any:
    if isinstance(cell, Image.Image):
        return cell
    if isinstance(cell, Mapping):
        data = cell.get("bytes")
        return _stored(data, column, record) if data else _image(cell.get("path"), column, record)
    if isinstance(cell, bytes):
        return _stored(cell, column, record)
    if isinstance(cell, str) and is_inline(cell):
        return _stored(cell, column, record)
    if isinstance(cell, str | os.PathLike):
        return cell
    raise ValueError(
        f"record {first(record, *IDS)!r}, column {column}: expected an image, base64 or a path, got"
        f" {type(cell).__name__}"
    )


def _stored(data: bytes | str, column: str, record: Mapping[str, Any]) -> Image.Image:
    """Open an image from the bytes of a file or from base64; it is decoded when it is used."""
    try:
        return undecoded(inline_bytes(data) if isinstance(data, str) else data)
    except ValueError as error:
        raise ValueError(f"record {first(record, *IDS)!r}, column {column}: {error}") from None
