"""The picture of a row that has exactly one, and its size, for benchmarks whose answers are places
in it.
"""

from collections.abc import Mapping
from typing import Any

from g2rpo.benchmark.columns import images_of, needed
from g2rpo.image import image_size


def needed_image(benchmark: str, record: Mapping[str, Any], *columns: str) -> Any:
    """The image in the first of the columns that has any, a PIL image or a path. Raises
    `ValueError` with the columns.
    """
    needed(benchmark, record, *columns)
    return images_of(record, *columns)[0]


def size_px(image: Any) -> tuple[int, int]:
    """Width and height of a PIL image or of an image file, upright. Raises `ValueError` where the
    file is none.
    """
    try:
        return image_size(image)
    except ValueError as error:
        raise ValueError(f"image {image} cannot be read ({error})") from error
