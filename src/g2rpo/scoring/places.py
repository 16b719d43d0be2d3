"""Boxes and intervals of time in the many notations that models use, anywhere in a text.

JSON and Python literals are parsed, never run. Text is read up to a fixed length, in time linear in
that length.
"""

import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from g2rpo.scoring.extract import finite_numbers
from g2rpo.scoring.points import LONGEST_LITERAL, whole_value

Box = tuple[float, float, float, float]
BOX_KEYS = ("boxes", "bbox_2d", "bbox", "box", "bounding_box", "bboxes", "coordinates", "answer")
SPAN_KEYS = (
    "time",
    "span",
    "timestamp",
    "timestamps",
    "time_span",
    "interval",
    "segment",
    "answer",
)
_CORNER_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
_SIZE_KEYS = ("x", "y", "width", "height")
_TOKEN = re.compile(r"<\|?/?\w{1,20}\|?>")
"""Markup such as Qwen's `<|box_start|>` or `<box>`."""
_FENCE = re.compile(r"```\w*+")
_PAIRS = {"{": "}", "[": "]", "(": ")"}
_DEEPEST = 4
_SECONDS = re.compile(r"(\d++(?:\.\d++)?|\.\d++)\s*+(?:s|sec|secs|seconds?)?", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2}(?:\.\d++)?)")
_FROM_TO = re.compile(
    r"\D{0,60}?(?P<start>[\d:.]*\d)\s*+(?:s|sec|seconds?)?\s*+(?:to|and|until|till|-|–|—|~|,)\s*+"
    r"(?P<end>[\d:.]*\d)\s*+(?:s|sec|seconds?)?[^\d]*+",
    re.IGNORECASE,
)


def values_in(text: str) -> Iterator[Any]:
    r"""Yield the JSON or Python values in a text.

    The whole text is one value, else each outermost bracket is tried, in order.

    >>> list(values_in('see ```json\n{"a": [1]}\n``` and (2, 3)'))
    [{'a': [1]}, (2, 3)]
    """
    text = _FENCE.sub(" ", _TOKEN.sub(" ", text[:LONGEST_LITERAL])).strip()
    value = whole_value(text)
    if value is not None:
        yield value
        return
    for piece in _bracketed(text):
        value = whole_value(piece)
        if value is not None:
            yield value


def box_in(text: str) -> Box | None:
    """Return the first box in a text, with x0 <= x1 and y0 <= y1; None if there is none.

    An object such as `{"boxes": ...}` goes before a bare list.

    >>> box_in("[{'bbox_2d': [5, 6, 1, 2]}]"), box_in("<|box_start|>(1,2),(5,6)<|box_end|>")
    ((1.0, 2.0, 5.0, 6.0), (1.0, 2.0, 5.0, 6.0))
    >>> box_in("[1, 2, 3]")
    """
    values = list(values_in(text))
    for value in sorted(values, key=lambda value: not _has_keys(value)):
        box = as_box(value)
        if box is not None:
            return box
    pairs = [_numbers(value, 2) for value in values]
    for first, second in pairwise(pairs):
        if first is not None and second is not None:  # two corners side by side: (1, 2), (5, 6)
            return _ordered((*first, *second))
    return None


def mapping_in(text: str) -> Mapping[str, Any]:
    """Return the first object in a text, with its keys as text; empty if there is none.

    A list of one object counts as the object.
    """
    for value in values_in(text):
        value = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        if isinstance(value, Mapping):
            return {str(key): item for key, item in value.items()}
    return {}


def as_box(value: Any, depth: int = 0) -> Box | None:
    """Return a box from a parsed value; None if it holds none.

    It may be four numbers, two or four corners, or an object or list that holds a box first.

    >>> as_box({"x1": 1, "y1": 2, "x2": 5, "y2": 6}), as_box([[5, 2], [1, 6]])
    ((1.0, 2.0, 5.0, 6.0), (1.0, 2.0, 5.0, 6.0))
    >>> as_box([[1, 2, 5, 6], [7, 7, 8, 8]])
    (1.0, 2.0, 5.0, 6.0)
    """
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return as_box(whole_value(value), depth + 1)
    if isinstance(value, Mapping):
        return _box_of_object(value, depth)
    if not isinstance(value, list | tuple) or not value:
        return None
    four = _numbers(value, 4)
    if four is not None:
        return _ordered(four)
    corners = [pair for item in value if (pair := _numbers(item, 2)) is not None]
    if len(corners) == len(value) and len(value) in (2, 4):
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    return as_box(value[0], depth + 1)


def span_in(text: str) -> tuple[float, float] | None:
    """Return the first interval of time in a text, in seconds, start before end; else None.

    >>> span_in('{"time": ["2.5", "8.5"]}'), span_in("from 2.5s to 8.5s"), span_in("[2, 3, 4]")
    ((2.5, 8.5), (2.5, 8.5), None)
    """
    for value in values_in(text):
        span = as_span(value)
        if span is not None:
            return span
    stated = _FROM_TO.fullmatch(text.strip()) if len(text) <= 200 else None
    return as_span([stated["start"], stated["end"]]) if stated else None


def as_span(value: Any, depth: int = 0) -> tuple[float, float] | None:
    """Return an interval of time in seconds from a parsed value; None if it holds none.

    It may be two times, or an object or a list that holds an interval first.
    """
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return as_span(whole_value(value), depth + 1)
    if isinstance(value, Mapping):
        if "start" in value and "end" in value:
            return as_span([value["start"], value["end"]], depth + 1)
        key = next((key for key in SPAN_KEYS if key in value), None)
        return None if key is None else as_span(value[key], depth + 1)
    if not isinstance(value, list | tuple) or not value:
        return None
    times = [time for item in value if (time := as_time(item)) is not None]
    if len(times) == len(value) == 2:
        return min(times), max(times)
    return as_span(value[0], depth + 1) if isinstance(value[0], list | tuple | Mapping) else None


def as_time(value: Any) -> float | None:
    """Return a moment in seconds from a number, `2.5`, `2.5 s` or `0:02.5`; else None.

    >>> as_time(3), as_time("2.5s"), as_time("1:02"), as_time("soon")
    (3.0, 2.5, 62.0, None)
    """
    if isinstance(value, str):
        clock = _CLOCK.fullmatch(value.strip())
        if clock:
            return 3600 * float(clock[1] or 0) + 60 * float(clock[2]) + float(clock[3])
        seconds = _SECONDS.fullmatch(value.strip())
        value = seconds[1] if seconds else None
    numbers = None if isinstance(value, bool) else finite_numbers([value], 1)
    return None if numbers is None else numbers[0]


def _bracketed(text: str) -> Iterator[str]:
    """Yield the outermost balanced brackets.

    Brackets inside quotes count like others, which only loses odd labels.
    """
    expected: list[str] = []
    start = 0
    for place, sign in enumerate(text):
        if sign in _PAIRS:
            if not expected:
                start = place
            expected.append(_PAIRS[sign])
        elif expected and sign == expected[-1]:
            expected.pop()
            if not expected:
                yield text[start : place + 1]


def _has_keys(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    )


def _box_of_object(value: Mapping[Any, Any], depth: int) -> Box | None:
    for names in _CORNER_KEYS:
        if all(name in value for name in names):
            return as_box([value[name] for name in names], depth + 1)
    if all(name in value for name in _SIZE_KEYS):
        four = _numbers([value[name] for name in _SIZE_KEYS], 4)
        return (
            None
            if four is None
            else _ordered((four[0], four[1], four[0] + four[2], four[1] + four[3]))
        )
    key = next((key for key in BOX_KEYS if key in value), None)
    return None if key is None else as_box(value[key], depth + 1)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return `count` finite numbers from numbers or texts, but not from booleans; else None."""
    items = list(value) if isinstance(value, list | tuple) else value
    if not isinstance(items, list) or any(isinstance(item, bool) for item in items):
        return None
    return finite_numbers(items, count)


def _ordered(numbers: tuple[float, ...]) -> Box | None:
    x0, y0, x1, y1 = numbers
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return box if all(map(math.isfinite, box)) else None
