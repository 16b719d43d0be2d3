"""Boxes, in JSON and in text that a model wrote, and points.

A box is `[x0, y0, x1, y1]` and a point `[x, y]`, in the unit that both sides share. A box whose
corners are swapped has no area. Text is read as OneThinker reads it, as VLMEvalKit does, and
robustly, in time linear in its length. No function raises for a strange value.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import permutations

from g2rpo.scoring.extract import final_answer, finite_numbers, json_object
from g2rpo.scoring.places import box_in

POINTS = 3
"""A segmentation answer has three points inside the object and three outside."""


def box_iou(first: object, second: object) -> float:
    """Return the intersection over union of two boxes; 0 if one of them is not a box.

    >>> box_iou([0, 0, 10, 10], [5, 0, 15, 10]), box_iou([0, 0, 10], [0, 0, 10, 10])
    (0.3333333333333333, 0.0)
    """
    a, b = finite_numbers(first, 4), finite_numbers(second, 4)
    if a is None or b is None:
        return 0.0
    shared = _area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    union = _area(*a) + _area(*b) - shared
    return shared / union if union > 1e-12 else 0.0


def frame_iou(boxes: Mapping[str, object], gold: Mapping[str, object]) -> float:
    """Return the mean IoU over the gold frames; a frame without a predicted box counts 0.

    Both mappings go from a frame's name to its box.

    >>> frame_iou({"0": [0, 0, 2, 2]}, {"0": [0, 0, 2, 2], "5": [1, 1, 3, 3]})
    0.5
    """
    return (
        sum(box_iou(boxes.get(frame), box) for frame, box in gold.items()) / len(gold)
        if gold
        else 0.0
    )


def shared_frame_iou(boxes: Mapping[str, object], gold: Mapping[str, object]) -> float:
    """Return the mean IoU over the frames that both sides name; 0 if they share none.

    >>> box = [0, 0, 2, 2]
    >>> shared_frame_iou({"0": box, "9": [0, 0, 1, 1]}, {"0": box, "5": [1, 1, 3, 3]})
    1.0
    """
    return frame_iou(boxes, {frame: box for frame, box in gold.items() if frame in boxes})


def read_points(value: object) -> list[tuple[float, ...]] | None:
    """Return exactly three points; None for anything else.

    >>> read_points([[1, 2], [3, 4], [5, 6]]), read_points([[1, 2]])
    ([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)], None)
    """
    if not isinstance(value, list) or len(value) != POINTS:
        return None
    points = [point for item in value if (point := finite_numbers(item, 2)) is not None]
    return points if len(points) == POINTS else None


def point_similarity(
    points: Sequence[Sequence[float]], gold: Sequence[Sequence[float]], sigma: float = 50.0
) -> float:
    """Return exp(-d^2 / (2 sigma^2)), with d the mean distance under the best one-to-one matching.

    `sigma` has the unit of the points.

    >>> point_similarity([(9, 9), (0, 0), (5, 5)], [(0, 0), (5, 5), (9, 9)])
    1.0
    """
    best = min(sum(map(math.dist, order, gold)) for order in permutations(points))
    return math.exp(-((best / len(gold)) ** 2) / (2 * sigma**2))


def _area(x0: float, y0: float, x1: float, y1: float) -> float:
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


Box = tuple[float, float, float, float]
GRID = 1000.0
_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
_GAP = r"(?:\s*+,\s*+|\s++)"
_FOUR = rf"\s*+({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER})\s*+"
_BRACKETED = re.compile(rf"\[{_FOUR}\]")
_ENCLOSED = re.compile(rf"[\[(]{_FOUR}[\])]")
_NAMED = re.compile(rf"""["'](?:boxes|bbox_2d|bbox|box)["']\s*+:\s*+(?:\[\s*+)?[\[(]{_FOUR}[\])]""")
_JSON_NUMBER = r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?"
_ALONE = re.compile(
    r"[^][{}()<>`]*\{\s*\"(?:boxes|bbox_2d)\"\s*:\s*\[\s*"
    + r"\s*,\s*".join([f"({_JSON_NUMBER})"] * 4)
    + r"\s*\]\s*\}[^][{}()<>`]*"
)
"""One JSON object with a box among words without any bracket."""
_LONGEST_ALONE = 2000
_NUMBERS = re.compile(_NUMBER)
_CORNER_NAME = re.compile(r"\b(?:bbox_2d|[xy]_?(?:[0-4]|min|max)|\d++[.)](?=\s)(?!\s*+$))")


def strict_box(text: str) -> Box | None:
    """Return the box as OneThinker reads it; None if there is none.

    The tagged answer, or the whole text, must be a JSON object whose `boxes` is a flat list of four
    numbers.

    >>> strict_box('<answer>{"boxes": [1, "2", 3, 4]}</answer>')
    (1.0, 2.0, 3.0, 4.0)
    >>> strict_box('{"boxes": [[1, 2, 3, 4]]}'), strict_box("[1, 2, 3, 4]")
    (None, None)
    """
    return _four((json_object(final_answer(text)) or {}).get("boxes"))


def loose_box(text: str) -> Box | None:
    """Return the box as VLMEvalKit reads it; None if there is none.

    The first square brackets around exactly four numbers count, else the first four numbers.

    >>> loose_box("[[1 2 3 4]]"), loose_box("x1=1 y1=2"), loose_box("1, 2, 3")
    ((1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.0, 2.0), None)
    """
    match = _BRACKETED.search(text)
    if match:
        return _four(list(match.groups()))
    words = [word[0] for word, _ in zip(_NUMBERS.finditer(text), range(4), strict=False)]
    return _four(words)


def first_box(text: str) -> Box | None:
    """Return the first box in a text, in any usual notation; None if there is none.

    The strict reading goes first, then one object among words, then `places.box_in`. Last come
    broken notations: an object that was not closed, bracketed numbers without commas, and a text
    with just four numbers.

    >>> first_box('see [{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8]}]')
    (1.0, 2.0, 3.0, 4.0)
    >>> first_box("(9, 8, 7, 6)"), first_box("1 2 3 4")
    ((7.0, 6.0, 9.0, 8.0), (1.0, 2.0, 3.0, 4.0))
    """
    strict = strict_box(text)
    if strict is not None:
        return strict
    answer = final_answer(text)
    alone = _ALONE.fullmatch(answer) if len(answer) <= _LONGEST_ALONE else None
    if alone is not None:
        x0, y0, x1, y1 = map(float, alone.groups())
        return in_order((x0, y0, x1, y1))
    box = box_in(answer)
    if box is not None:
        return box
    match = _NAMED.search(answer) or _ENCLOSED.search(answer)
    numbers = list(match.groups()) if match else _NUMBERS.findall(_CORNER_NAME.sub(" ", answer))
    return _four(numbers)  # a text of exactly four numbers is a box as well


def scaled(box: Box, width: float, height: float) -> Box:
    """Return the box with x times `width` and y times `height`."""
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def guessed_pixels(box: Box, width: float, height: float) -> Box:
    """Return a box in pixels, with the unit guessed as VLMEvalKit does.

    Coordinates up to 1.5 are shares, up to 1000 per mille, above that pixels. The box is clipped to
    the image and its corners are put in order.

    >>> guessed_pixels((500.0, 500.0, 100.0, -50.0), 640, 480)
    (64.0, 0.0, 320.0, 240.0)
    >>> guessed_pixels((1100.0, 10.0, 20.0, 30.0), 640, 480)
    (20.0, 10.0, 640.0, 30.0)
    """
    largest = max(map(abs, box))
    if largest <= 1.5:
        box = scaled(box, width, height)
    elif largest <= GRID:
        box = scaled(box, width / GRID, height / GRID)
    x0, y0, x1, y1 = (
        min(max(value, 0.0), float(most))
        for value, most in zip(box, (width, height) * 2, strict=True)
    )
    return in_order((x0, y0, x1, y1))


def in_order(box: Box) -> Box:
    """Return the box with its corners swapped if they are reversed."""
    return min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])


def hits(box: Box, gold: Box, least: float = 0.5) -> bool:
    """Return whether the IoU of two boxes is at least `least`.

    >>> hits((0.0, 0.0, 5.0, 10.0), (0.0, 0.0, 10.0, 10.0))
    True
    >>> hits((0.0, 0.0, 4.9, 10.0), (0.0, 0.0, 10.0, 10.0))
    False
    """
    return box_iou(list(box), list(gold)) >= least - 1e-9  # scaled corners are not exact


def _four(value: object) -> Box | None:
    numbers = finite_numbers(value, 4)
    return None if numbers is None else (numbers[0], numbers[1], numbers[2], numbers[3])
