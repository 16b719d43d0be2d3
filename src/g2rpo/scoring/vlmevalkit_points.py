"""Points as VLMEvalKit's two readers take them from a completion, defects included.

`Point2DParser` serves `RefSpatialBench` and RoboSpatial: there, four numbers in parentheses stand
for all pixels of a box. `RefSpatialDataset` has a reader of its own. Both take time linear in the
length of the text; what would raise in the original is nothing here.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from g2rpo.scoring.extract import finite_numbers
from g2rpo.scoring.points import NORMALISED_UP_TO, PERMILLE, Point, json_value, whole_value

_GROUP = re.compile(r"\(([-+]?\d++\.?\d*+(?:,\s*+[-+]?\d++\.?\d*+)*+)\)")
_FENCE = re.compile(r"```(?:json)?\n")
_POINTS = re.compile(r"<points\s++")
_CORNER = re.compile(r'x\d++="([\d.]++)"\s++y\d++="([\d.]++)"')
_PAIR = re.compile(r"\(\s*+([\d.]++)\s*+,\s*+([\d.]++)\s*+\)")


class Area(NamedTuple):
    """All pixels of a box; right and bottom are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


def parser_places(text: str, width: float, height: float) -> list[Point | Area]:
    """Return the places that `Point2DParser` reads: points in shares of the image, and areas.

    If the text is JSON or a Python literal, `point_2d` and `point` count, both x first: shares up
    to 1.5, per mille up to 1000, pixels above. Otherwise two or four numbers in parentheses count,
    where more than 1.5 means pixels. A number needs a digit in front, and no space before it.

    >>> parser_places("[{'point_2d': (550, 480)}]", 640, 480)
    [(0.55, 0.48)]
    >>> parser_places("(320, 240) (0.5, 0.5, 0.6, 0.6)", 640, 480)
    [(0.5, 0.5), Area(x0=320, y0=240, x1=384, y1=288)]
    >>> parser_places("( .5 , .4 )", 640, 480)
    []
    """
    value = whole_value(_unfenced(text))
    items = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    keyed = [pair for item in items if (pair := _keyed(item)) is not None]
    if keyed:
        return [_share(pair, width, height) for pair in keyed]
    places: list[Point | Area] = []
    for match in _GROUP.finditer(text):
        numbers = finite_numbers(match[1].split(","), match[1].count(",") + 1)
        if numbers is None or len(numbers) not in (2, 4):
            continue
        scale = (width, height) if max(map(abs, numbers)) <= NORMALISED_UP_TO else (1.0, 1.0)
        pixels = [number * scale[k % 2] for k, number in enumerate(numbers)]
        if len(pixels) == 2:
            places.append((pixels[0] / width, pixels[1] / height))
            continue
        (x0, x1), (y0, y1) = (sorted(map(round, pixels[k::2])) for k in (0, 1))
        places += [Area(x0, y0, x1, y1)] if x0 < x1 and y0 < y1 else []
    return places


def dataset_points(text: str) -> list[Point]:
    r"""Return the points that `RefSpatialDataset` reads, in shares of the image.

    JSON, in a code fence anywhere or as the whole text, with `point_2d` (x first), `point` (y
    first) or bare pairs, per mille above 1. Otherwise Molmo's `<points x1=.. y1=.. />` in per cent;
    otherwise pairs in parentheses, taken as shares of any size. Signs and exponents are not read.

    >>> dataset_points('{"point": [480, 550]}'), dataset_points("[[550, 480]]")
    ([(0.55, 0.48)], [(0.55, 0.48)])
    >>> dataset_points('so:\n```json\n[{"point_2d": [550, 480]}]\n```')
    [(0.55, 0.48)]
    >>> dataset_points('<points x1="55" y1="48"/>'), dataset_points('<point x="55" y="48"/>')
    ([(0.55, 0.48)], [])
    """
    opening = _FENCE.search(text)
    closing = text.find("```", opening.end()) if opening else -1
    points: list[Point] = []
    try:
        value = json_value(text[opening.end() : closing] if opening and closing >= 0 else text)
        for item in value if isinstance(value, list) else [value]:
            points += _dataset_pair(item)
    except (ValueError, TypeError, LookupError, OverflowError):  # what was read before stays
        pass
    if points:
        return points
    for x, y in _molmo(text):
        points.append((x / 100, y / 100) if x > 1 or y > 1 else (x, y))
    return points or list(_pairs(_PAIR.finditer(text)))


def _unfenced(text: str) -> str:
    text = text.strip()
    if not text.startswith("```"):
        return text
    _, newline, rest = text.partition("\n")
    return (rest if newline else text.lstrip("`")).strip().removesuffix("```").strip()


def _keyed(item: Any) -> Point | None:
    value = (item.get("point_2d") or item.get("point")) if isinstance(item, dict) else None
    pair = finite_numbers(list(value) if isinstance(value, tuple) else value, 2)
    return (pair[0], pair[1]) if pair else None


def _share(point: Point, width: float, height: float) -> Point:
    largest = max(map(abs, point))
    if largest <= NORMALISED_UP_TO:
        return point
    if largest <= PERMILLE:
        return point[0] / PERMILLE, point[1] / PERMILLE
    return point[0] / width, point[1] / height


def _dataset_pair(item: Any) -> list[Point]:
    if isinstance(item, dict) and "point_2d" in item:
        pair = item["point_2d"]
    elif isinstance(item, dict) and "point" in item:
        pair = item["point"][::-1]
        if not all(isinstance(value, int | float) for value in pair):
            return []
    else:
        pair = item if isinstance(item, list) else ()
    if len(pair) != 2:
        return []
    x, y = float(pair[0]), float(pair[1])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"no pixel at {pair}")
    return [(x / PERMILLE, y / PERMILLE) if x > 1 or y > 1 else (x, y)]


def _molmo(text: str) -> Iterator[Point]:
    """Yield the pairs of the first `<points .../>` that ends on its line."""
    opening = _POINTS.search(text)
    while opening:
        end = text.find("\n", opening.end())
        end = len(text) if end < 0 else end
        closing = text.find("/>", opening.end(), end)
        if closing >= 0:
            yield from _pairs(_CORNER.finditer(text, opening.end(), closing))
            return
        opening = _POINTS.search(text, end)


def _pairs(matches: Iterator[re.Match[str]]) -> Iterator[Point]:
    for match in matches:
        pair = finite_numbers([match[1], match[2]], 2)
        if pair is not None:
            yield pair[0], pair[1]
