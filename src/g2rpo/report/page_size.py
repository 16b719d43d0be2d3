"""Keeps the page of a long run small: what its texts and pictures may take together."""

from collections.abc import Sequence

from markupsafe import escape

from g2rpo.report.inline_picture import Picture
from g2rpo.report.render import TEXT_LIMIT

TEXT_BYTES, PICTURE_BYTES = 1_500_000, 2_000_000
"""Most bytes of all prompts and completions, and of all pictures, on one page. The library that
draws the figures takes 5 MB, and a page should stay below 10 MB.
"""
LEFT_OUT = Picture(problem="picture left out to keep the page small")


def text_limit(texts: Sequence[str], most_bytes: int = TEXT_BYTES) -> int:
    """Return the number of characters, at most `TEXT_LIMIT`, to which each text is shortened.

    All texts together then take about `most_bytes` on the page.

    >>> text_limit(["a" * 5000]), text_limit(["a" * 600, "b" * 10], most_bytes=400)
    (3000, 390)
    """
    sizes = [(len(text), len(escape(text).encode(errors="replace"))) for text in texts if text]
    low, high = 1, TEXT_LIMIT
    while low < high:
        limit = (low + high + 1) // 2
        total = sum(size * min(1.0, limit / count) for count, size in sizes)
        low, high = (limit, high) if total <= most_bytes else (low, limit - 1)
    return low


def fitting(
    shown: Sequence[Sequence[Picture]], most_bytes: int = PICTURE_BYTES
) -> list[list[Picture]]:
    """Return the pictures of each card; those beyond `most_bytes` give way to a remark."""
    spent, kept = 0, []
    for pictures in shown:
        own = []
        for picture in pictures:
            spent += len(picture.uri)
            own.append(LEFT_OUT if picture.uri and spent > most_bytes else picture)
        kept.append(own)
    return kept
