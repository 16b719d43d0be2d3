"""Reads the images of a record: paths, bytes, base64, data: URLs, or objects with `bytes` and
`path`.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from g2rpo.data.rows import BadRecord
from g2rpo.image import check_source, inline_bytes, is_inline

IMAGE_FIELDS = ("images", "image", "path")
"""Fields that may hold the images; the first one that is present counts."""


def images_in(row: Mapping[str, Any]) -> list[Any]:
    """Return the images of a record as paths, encoded texts or bytes, without opening them.

    Raises:
        BadRecord: If an image is null, empty, a web address or of another type; names its number.
    """
    found = next((row[field] for field in IMAGE_FIELDS if row.get(field) is not None), None)
    items = items_of(found)
    for number, item in enumerate(items, 1):
        if item is not None and not isinstance(item, str | bytes | Image.Image):
            raise BadRecord(f"images: expected a path or a list of paths, got {str(found)[:100]}")
        try:
            check_source(item)
        except ValueError as error:
            raise BadRecord(f"images: image {number}: {error}") from None
    return items


def items_of(cell: Any) -> list[Any]:
    """Return the images in a cell that holds none, one, or a list of them."""
    if cell is None or cell == "":
        return []
    return [_item(item) for item in cell] if isinstance(cell, list | tuple) else [_item(cell)]


def located(item: Any, root: Path | None) -> Any:
    """Return an image as a prompt holds it: a path below `root`, or bytes for an encoded text."""
    if not isinstance(item, str):
        return item
    return inline_bytes(item) if is_inline(item) else str(root / item) if root else item


def refuse_outside(items: Iterable[Any], root: Path | None) -> None:
    """Raise `BadRecord` for a path that leads out of `root`, as `../x.png` or `/x.png` does.

    Links are not followed: whoever gave the folder may have made them.
    """
    for item in items:
        if root is None or not isinstance(item, str) or is_inline(item):
            continue
        if not Path(os.path.abspath(root / item)).is_relative_to(os.path.abspath(root)):
            raise BadRecord(
                f"images: {item[:200]!r} leads out of data.root={root}; move the image there, or"
                " set data.root to a folder that holds all images"
            )


def _item(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    stored = [
        item[name] for name in ("bytes", "path", "image", "url") if item.get(name) is not None
    ]
    # an empty value counts only if there is no other
    return next((value for value in stored if value), stored[0] if stored else None)
