"""Points `(x, y)` in text that a model wrote, as the evaluations of pointing benchmarks read them.

A point comes back in shares of the image, (0, 0) its upper left corner and (1, 1) its lower right
one, unless a function says otherwise. Nothing is evaluated; every function takes time linear in the
length of the text and never raises for a strange one.
"""

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

from g2rpo.scoring.extract import finite_numbers

Point = tuple[float, float]
LONGEST_LITERAL = 20_000
"""Characters. Longer texts are not parsed as a whole: no list of points is that long."""
PERMILLE = 1000.0
NORMALISED_UP_TO = 1.5
"""Coordinates up to here are taken as shares of the image, which leaves room for points just
outside.
"""

NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
_FENCE_LINE = re.compile(r"```\w*+")
_PARENTHESES = re.compile(rf"\(\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\)")
_BRACKETS = re.compile(rf"\[\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\]")
_PAIR = re.compile(rf"[\[(]\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+[\])]")
_PERCENT = re.compile(rf"[\[(]\s*+({NUMBER})\s*+\\?%\s*+,\s*+({NUMBER})\s*+\\?%\s*+[\])]")
_NAMED = re.compile(
    rf"""["']point_2d["']\s*+:\s*+[\[(]\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+[\])]"""
)
_BY_NAME = re.compile(
    rf"""\bx["']?\s*+[:=]\s*+({NUMBER})\s*+[,;]?\s*+(?:and\s++)?["']?y["']?\s*+[:=]\s*+({NUMBER})"""
)
_NUMBERS = re.compile(rf"(?<![\w.])({NUMBER})(\s*+\\?%)?(?![\w.])")
_LEFT_OUT = re.compile(
    r"\b(?:the|is|at|and|points?|point_2d|coordinates?|location|position|pixels?|answer|left|right|x|y)\b|[\W\d_]+",
    re.IGNORECASE,
)
_REVERSED = re.compile(r"\by\b[^xX]*\bx\b", re.IGNORECASE)
_LONGEST_BARE = 80
_BOX = re.compile(
    rf"[\[(]\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+[\])]"
)
_XML = re.compile(
    r"""\bx\d*+\s*+=\s*+["']\s*+(-?\d++\.?\d*+)\s*+["']\s++y\d*+\s*+=\s*+["']\s*+(-?\d++\.?\d*+)\s*+["']"""
)
_GROUP = re.compile(r"\(([-+]?\d++\.?\d*+(?:,\s*+[-+]?\d++\.?\d*+)*+)\)")


def first_point(text: str) -> Point | None:
    """Return the first `point_2d`, else the first pair in brackets or parentheses; else None.

    Without either: `x: 0.5, y: 0.4`, Molmo's XML in per cent, a text of two numbers, or the middle
    of a box. Coordinates up to 1.5 are shares, larger ones per mille, those with a sign per cent.

    >>> first_point('Here: [{"point_2d": [550, 480]}]'), first_point("(0.55, .48)")
    ((0.55, 0.48), (0.55, 0.48))
    >>> first_point('{"x": 550, "y": 480}'), first_point("(55%, 48%)")
    ((0.55, 0.48), (0.55, 0.48))
    >>> first_point("none")
    """
    for find in (_NAMED.search, _PAIR.search):
        match = find(text)
        if match:
            point = _finite(match)
            return _unpermille(point) if point else None
    percent = _PERCENT.search(text)
    shares = [_finite(percent)] if percent else []
    molmo = [(x / 100, y / 100) for x, y in filter(None, shares)] or xml_points(text)
    if molmo:
        return molmo[0]
    match = _BY_NAME.search(text)
    point = _finite(match) if match else _bare_point(text)
    box = _BOX.search(text) if point is None else None
    corners = finite_numbers(list(box.groups()), 4) if box else None
    if corners:
        point = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    return _unpermille(point) if point else None


def xml_points(text: str) -> list[Point]:
    """Return the points of Molmo's `<points x1="55.0" y1="48.0" ...>`, which are per cent.

    >>> xml_points('<points x1="50" y1="48" x2="10" y2="20">cup</points>')
    [(0.5, 0.48), (0.1, 0.2)]
    """
    return [
        (x / 100, y / 100)
        for match in _XML.finditer(text)
        if (point := _finite(match))
        for x, y in [point]
    ]


def pixel_areas(text: str, width: int, height: int) -> list[tuple[int, int, int, int]] | None:
    """Return areas `(x0, y0, x1, y1)` in whole pixels as RoboRefer's evaluation reads them.

    Right and bottom are exclusive; a point is one pixel. Read from Molmo's XML, from JSON with
    `point` (y first, per mille), or from parentheses with two numbers (a point) or four (all pixels
    of a box). Each group is scaled by the image only if one of its numbers has a decimal point.
    None for a box whose corners are swapped.

    >>> pixel_areas("(0.55, 0.48)", 640, 480), pixel_areas("(1, 2, 3, 5)", 640, 480)
    ([(352, 230, 353, 231)], [(1, 2, 3, 5)])
    >>> pixel_areas("(3, 2, 1, 5)", 640, 480)
    """
    shares = xml_points(text) or [
        (x / PERMILLE, y / PERMILLE)
        for item in _items(json_value(_unfenced(text)))
        for y, x in _keyed(item, ("point",))
    ]
    areas = [_pixel(int(x * width), int(y * height)) for x, y in shares]
    if areas:
        return areas
    for match in _GROUP.finditer(text):
        words = [word.strip() for word in match[1].split(",")]
        if len(words) not in (2, 4):
            continue
        scale = (
            (width, height, width, height) if any("." in word for word in words) else (1, 1, 1, 1)
        )
        numbers = finite_numbers(words, len(words))
        if numbers is None:
            continue
        corners = [int(number * by) for number, by in zip(numbers, scale, strict=False)]
        if len(corners) == 2:
            areas.append(_pixel(corners[0], corners[1]))
        elif corners[2] < corners[0] or corners[3] < corners[1]:
            return None
        else:
            areas.append((corners[0], corners[1], corners[2], corners[3]))
    return areas


def leading_point(text: str) -> Point | None:
    """Return the first `(x, y)`, else the first `[x, y]`, as RoboSpatial's evaluation does.

    >>> leading_point("at (0.5,0.4)."), leading_point('{"point_2d": [500, 400]}')
    ((0.5, 0.4), (500.0, 400.0))
    >>> leading_point("[(0.5, 0.5")
    """
    match = _PARENTHESES.search(text) or _BRACKETS.search(text)
    return _finite(match) if match else None


def json_value(text: str) -> Any:
    """Return the text as one JSON value; None for anything else.

    A text longer than `LONGEST_LITERAL` is not parsed.
    """
    if len(text) > LONGEST_LITERAL:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, or nested too deep
        return None


def whole_value(text: str) -> Any:
    """Return the text as one JSON value or Python literal; None for anything else.

    Literals are parsed, never run.
    """
    value = json_value(text)
    if value is not None or len(text) > LONGEST_LITERAL:
        return value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in the text
            return ast.literal_eval(text)
    except (
        ValueError,
        SyntaxError,
        TypeError,
        MemoryError,
        RecursionError,
    ):  # all that `literal_eval` is documented to raise
        return None


def _unfenced(text: str) -> str:
    text = text.strip()
    opening = _FENCE_LINE.match(text)
    return (
        text[opening.end() : -3].strip()
        if opening and len(text) >= opening.end() + 3 and text.endswith("```")
        else text
    )


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _keyed(item: Any, keys: tuple[str, ...]) -> list[Point]:
    """Return the pair under the first of the keys that an object has."""
    value = (
        next((item[key] for key in keys if key in item), None)
        if isinstance(item, Mapping)
        else None
    )
    pair = finite_numbers(list(value) if isinstance(value, tuple) else value, 2)
    return [(pair[0], pair[1])] if pair else []


def _finite(match: re.Match[str]) -> Point | None:
    x, y = float(match[1]), float(match[2])
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _bare_point(text: str) -> Point | None:
    """Return the only two numbers of a short text without other words; None for anything else."""
    if len(text) > _LONGEST_BARE or _LEFT_OUT.sub("", text):
        return None
    found = [(float(match[1]), bool(match[2])) for match in _NUMBERS.finditer(text)]
    if len(found) != 2 or not all(math.isfinite(value) for value, _ in found):
        return None
    x, y = (value * PERMILLE / 100 if percent else value for value, percent in found)
    return (y, x) if _REVERSED.search(text) else (x, y)


def _unpermille(point: Point, above: float = NORMALISED_UP_TO) -> Point:
    largest = max(map(abs, point))
    return point if largest <= above else (point[0] / PERMILLE, point[1] / PERMILLE)


def _pixel(x: int, y: int) -> tuple[int, int, int, int]:
    return x, y, x + 1, y + 1
