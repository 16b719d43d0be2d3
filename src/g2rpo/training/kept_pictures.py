"""Pictures that a run keeps for its report: of which prompts, and as small files."""

import io
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from g2rpo.files import writing
from g2rpo.image import open_image
from g2rpo.records import Prompt

LARGEST_PX = 512
"""Larger pictures are scaled down to this width and height, in pixels."""
LARGEST_PNG = 64_000
"""In bytes. A picture that is larger as PNG is kept as JPEG."""


def encoded(image: Image.Image, largest_px: int = LARGEST_PX) -> tuple[bytes, str]:
    """Return a picture as file content and its kind: `png` if that is small, else `jpeg`."""
    small = open_image(image)
    small.thumbnail((largest_px, largest_px))
    content = _written(small, format="PNG")
    if len(content) <= LARGEST_PNG:
        return content, "png"
    return _written(small, format="JPEG", quality=85), "jpeg"


def _written(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def save_pictures(
    prompts: Sequence[Prompt],
    folder: Path,
    *,
    largest_px: int = LARGEST_PX,
    most_bytes: float = math.inf,
) -> None:
    """Write the images of prompts into a folder, as long as it holds less than `most_bytes`."""
    folder.mkdir(parents=True, exist_ok=True)
    spent = sum(path.stat().st_size for path in folder.iterdir())
    for prompt in prompts:
        for k, image in enumerate(prompt.images):
            if spent >= most_bytes:
                return
            content, kind = encoded(open_image(image), largest_px)
            target = folder / f"{_stem(prompt.id)}-{k}.{kind}"
            with writing(target):
                target.write_bytes(content)
            spent += len(content)


def picture_paths(folder: Path, prompt_id: str) -> list[Path]:
    """Return the kept pictures of a prompt, in their order; an empty list if none was kept."""
    paths: list[Path] = []
    stem = _stem(prompt_id)
    while found := [
        p for kind in ("png", "jpeg") if (p := folder / f"{stem}-{len(paths)}.{kind}").exists()
    ]:
        paths.append(found[0])
    return paths


def _stem(prompt_id: str) -> str:
    """Return a file name for an id, which may be longer than file systems allow."""
    name = prompt_id.replace("/", "-").replace("\0", "-")
    return (
        name
        if len(name.encode()) <= 120
        else f"{name[:40]}-{sha256(name.encode()).hexdigest()[:16]}"
    )


def worth_showing(
    scores: Mapping[str, float], earlier: Mapping[str, float], most: int
) -> dict[str, str]:
    """Choose prompts of one task: worst, best, largest gain and loss, then next worst and best.

    Args:
        scores: Score by prompt id, in the order of evaluation; of equal scores the first counts.
        earlier: Score of the same prompts before training; empty if there is none.
        most: Number of prompts to choose.

    Returns:
        The reason to show each chosen prompt, by its id.

    >>> worth_showing({"a": 0.5, "b": 1.0, "c": 0.0}, {"a": 0.1, "b": 1.0, "c": 0.1}, 3)
    {'c': 'worst, 0.00', 'b': 'best, 1.00', 'a': 'largest gain, +0.40'}
    """
    known = {name: score for name, score in scores.items() if math.isfinite(score)}
    rising = sorted(known, key=known.__getitem__)
    falling = sorted(known, key=lambda name: -known[name])
    ranked = [
        (name, why)
        for pair in zip(rising, falling, strict=True)
        for name, why in zip(pair, ("worst", "best"), strict=True)
    ]
    order = [(name, f"{why}, {known[name]:.2f}") for name, why in ranked]
    changes = {
        name: known[name] - earlier[name]
        for name in known
        if math.isfinite(earlier.get(name, math.nan))
    }
    extremes = [
        (pick(changes, key=changes.__getitem__), why, sign)
        for pick, why, sign in ((max, "largest gain", 1), (min, "largest loss", -1))
        if changes
    ]
    order[2:2] = [
        (name, f"{why}, {changes[name]:+.2f}")
        for name, why, sign in extremes
        if sign * changes[name] > 0
    ]
    reasons: dict[str, str] = {}
    for name, why in order:
        if len(reasons) < most:
            reasons.setdefault(name, why)
    return reasons
