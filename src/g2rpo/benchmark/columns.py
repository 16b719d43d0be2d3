"""Reading the columns of a record, whichever of several names they have."""

from collections.abc import Mapping
from typing import Any

from PIL import Image


def column(record: Mapping[str, Any], *names: str) -> Any:
    """The first of these columns that has a value; `ValueError` with the names where none has."""
    for name in names:
        value = record.get(name)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            return value
    raise ValueError(f"missing column {' or '.join(names)}; the record has: {', '.join(map(str, record)) or 'nothing'}")


def size_px(image: Any) -> tuple[int, int]:
    """Width and height of a PIL image or of an image file, of which only the header is read."""
    if isinstance(image, Image.Image):
        return image.size
    try:
        with Image.open(image) as opened:
            return opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what PIL raises for damaged files
        raise ValueError(f"image {image} cannot be read ({error})") from error
