"""Pictures carried inside a page, with the boxes and points that answers name drawn over them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from g2rpo.scoring.extract import final_answer, finite_numbers, json_object, tidy_tags
from g2rpo.training.kept_pictures import LARGEST_PX, encoded, picture_paths

MAX_PICTURES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture as a data URI with its (width, height) in pixels, or a problem in its place."""

    uri: str = ""
    size: tuple[int, int] = (0, 0)
    problem: str = ""
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """An outline over a picture: CSS classes, path on the grid from 0 to 1000, name in the key."""

    kind: str
    path: str
    name: str = ""


def data_uri(content: bytes, kind: str) -> str:
    """Return file content as an address that a page can carry."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def pictures(folder: Path, prompt_id: str) -> list[Picture]:
    """Return the first saved pictures of a prompt; a sentence replaces an unreadable file."""
    paths = picture_paths(folder, prompt_id)
    left = len(paths) - MAX_PICTURES
    return [_picture(path) for path in paths[:MAX_PICTURES]] + [
        Picture(problem=f"and {left} more pictures")
    ] * (left > 0)


def _picture(path: Path) -> Picture:
    try:
        with Image.open(path) as image:
            image.load()
            small = max(image.size) <= LARGEST_PX
            content, kind = (path.read_bytes(), path.suffix[1:]) if small else encoded(image)
            return Picture(uri=data_uri(content, kind), size=image.size)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        return Picture(
            problem=f"picture cannot be read: {str(error).replace(str(path.parent), '')}"
        )


def boxes_of(answers: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
    """Return the box that each answer names; nothing unless the gold answer is a box.

    >>> boxes_of({"gold": '{"boxes": [1, 2, 30, 40]}', "after": "B"})
    {'gold': (1.0, 2.0, 30.0, 40.0)}
    """
    found = {}
    for who, text in answers.items():
        box = finite_numbers((json_object(final_answer(tidy_tags(text))) or {}).get("boxes"), 4)
        if box is not None:
            found[who] = box
    return found if "gold" in found else {}


def box_marks(boxes: Mapping[str, tuple[float, ...]]) -> list[Mark]:
    """Return the outlines of boxes.

    >>> box_marks({"gold": (94.0, 156.0, 469.0, 469.0)})
    [Mark(kind='box gold', path='M94 156H469V469H94Z', name='gold')]
    """
    return [
        Mark(f"box {who}", f"M{x0:g} {y0:g}H{x1:g}V{y1:g}H{x0:g}Z", who)
        for who, (x0, y0, x1, y1) in boxes.items()
    ]
