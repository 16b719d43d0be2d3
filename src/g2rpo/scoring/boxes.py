"""Boxes `[x0, y0, x1, y1]` and points `[x, y]` from JSON, in the unit that both sides share.

A box whose corners are swapped has no area. Predicted values come from `json.loads` and may be
anything.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import permutations

POINTS = 3
"""A segmentation answer has three points inside the object and three outside."""


def finite_numbers(value: object, count: int) -> tuple[float, ...] | None:
    """Return a list of `count` finite numbers, or of strings that read as such; else None.

    >>> finite_numbers([1, "2.5"], 2), finite_numbers([1, 2], 4)
    ((1.0, 2.5), None)
    >>> finite_numbers([float("nan"), 0], 2)
    """
    if not isinstance(value, list) or len(value) != count:
        return None
    try:
        numbers = tuple(float(item) for item in value)
    except (
        TypeError,
        ValueError,
        OverflowError,
    ):  # a list or None; a word; an integer beyond the range of a float
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


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
