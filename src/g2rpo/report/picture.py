"""Images of held-out prompts, carried inside the page, with the boxes that answers name drawn on top."""

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from g2rpo.image import open_image
from g2rpo.report.palette import AFTER, BEFORE
from g2rpo.scoring.boxes import finite_numbers
from g2rpo.scoring.extract import final_answer, json_object, tidy_tags

SHOWN_PX = 176
"""Width of an image on the page."""
CARRIED_PX = 512
"""Larger images are scaled down to this before they are put into the page."""
MAX_IMAGES = 4
BOX_COLORS = {"gold": "#111111", "before": BEFORE, "after": AFTER}


def image_paths(images: Path, prompt_id: str) -> list[Path]:
    """The files of a prompt's images, in their order; empty where none was kept."""
    stem = prompt_id.replace("/", "-")
    paths: list[Path] = []
    while (path := images / f"{stem}-{len(paths)}.png").exists():
        paths.append(path)
    return paths


def picture(images: Path, prompt_id: str, answers: Mapping[str, str]) -> str:
    """The images of a prompt; boxes of `answers` (gold, before, after) are drawn where there is one image."""
    paths = image_paths(images, prompt_id)
    if not paths:
        return '<div class="picture empty">no image</div>'
    boxes = boxes_of(answers) if len(paths) == 1 else {}
    shown = "".join(f'<div class="image">{embedded(path)}{overlay(boxes)}</div>' for path in paths[:MAX_IMAGES])
    more = f'<div class="remark">and {len(paths) - MAX_IMAGES} more images</div>' if len(paths) > MAX_IMAGES else ""
    return f'<div class="picture">{shown}{more}{_box_key(boxes)}</div>'


def embedded(path: Path) -> str:
    """The image as a data URI; a sentence in its place where it cannot be read."""
    try:
        with Image.open(path) as image:
            image.load()
            width = image.width
            content = path.read_bytes() if max(image.size) <= CARRIED_PX else _scaled(image)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        return f'<span class="empty">image cannot be read: {escape(str(error).replace(str(path.parent), ""))}</span>'
    kind = ' class="pixels"' if width < SHOWN_PX else ""
    return f'<img{kind} alt="" width="{SHOWN_PX}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def _scaled(image: Image.Image) -> bytes:
    small = open_image(image)
    small.thumbnail((CARRIED_PX, CARRIED_PX))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()


def boxes_of(answers: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
    """The box that each answer names, on the 0-1000 grid; empty unless the gold answer is one.

    >>> boxes_of({"gold": '{"boxes": [1, 2, 30, 40]}', "after": "B"})
    {'gold': (1.0, 2.0, 30.0, 40.0)}
    """
    found = {}
    for who, text in answers.items():
        box = finite_numbers((json_object(final_answer(tidy_tags(text))) or {}).get("boxes"), 4)
        if box is not None:
            found[who] = box
    return found if "gold" in found else {}


def overlay(boxes: Mapping[str, tuple[float, ...]]) -> str:
    """Boxes over an image of any size. White rims keep them visible on every ground; gold shows through the gaps of the others."""
    if not boxes:
        return ""
    outlines = {who: f"M{x0:g} {y0:g}H{x1:g}V{y1:g}H{x0:g}Z" for who, (x0, y0, x1, y1) in boxes.items()}
    drawn = [f'<path d="{outline}" stroke="#fff" stroke-width="5"/>' for outline in outlines.values()]
    for who, outline in outlines.items():
        line = 'stroke-width="3"' if who == "gold" else 'stroke-width="2" stroke-dasharray="5 4"'
        drawn.append(f'<path class="box {who}" d="{outline}" stroke="{BOX_COLORS[who]}" {line}/>')
    return f'<svg class="boxes" viewBox="0 0 1000 1000" preserveAspectRatio="none">{"".join(drawn)}</svg>'


def _box_key(boxes: Mapping[str, tuple[float, ...]]) -> str:
    names = " ".join(f'<span style="color:{BOX_COLORS[who]}">&#9633; {who}</span>' for who in boxes)
    return f'<div class="remark">{names}</div>' if boxes else ""
