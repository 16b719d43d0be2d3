"""Whether a point lies in a mask of pixels, or in a polygon."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Corners = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Mask:
    """A binary mask: one byte per pixel, row by row, 1 inside and 0 outside."""

    width: int
    height: int
    pixels: bytes

    def __post_init__(self) -> None:
        if len(self.pixels) != self.width * self.height:
            raise ValueError(
                f"mask: expected {self.width} x {self.height} pixels, got {len(self.pixels)}"
            )

    @classmethod
    def rectangle(cls, width: int, height: int, box: Sequence[int]) -> "Mask":
        r"""Return a mask that is 1 in `box` = (x0, y0, x1, y1), right and bottom exclusive.

        >>> Mask.rectangle(3, 2, (1, 0, 3, 1)).pixels
        b'\x00\x01\x01\x00\x00\x00'
        """
        x0, y0, x1, y1 = (
            min(max(value, 0), most) for value, most in zip(box, (width, height) * 2, strict=True)
        )
        inside = max(x1 - x0, 0)
        row = bytes(x0) + b"\x01" * inside + bytes(width - x0 - inside)
        rows = max(y1 - y0, 0)
        return cls(
            width, height, bytes(width * y0) + row * rows + bytes(width * (height - y0 - rows))
        )

    def has(self, x: int, y: int) -> bool:
        """Return whether the pixel is 1; pixels outside the image are not."""
        return 0 <= x < self.width and 0 <= y < self.height and self.pixels[y * self.width + x] > 0

    def has_share(self, point: Point) -> bool:
        """Return whether the pixel at a share of the image is 1.

        (0.5, 0.5) is the middle, (1, 1) is just outside.
        """
        x, y = math.floor(point[0] * self.width), math.floor(point[1] * self.height)
        return self.has(x, y)

    def clipped(self, x: float, y: float) -> tuple[float, float]:
        """Return the position in pixels, moved to the border if it lies outside."""
        return min(max(x, 0), self.width - 1), min(max(y, 0), self.height - 1)

    def share_of(self, areas: Sequence[tuple[int, int, int, int]]) -> float:
        """Return the share of the areas' pixels that are 1; 0 if there is no pixel.

        Pixels outside the image count as 0.

        >>> Mask.rectangle(4, 4, (0, 0, 2, 4)).share_of([(0, 0, 1, 1), (3, 3, 4, 4)])
        0.5
        """
        total = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in areas)
        return sum(map(self._count, areas)) / total if total else 0.0

    def count_clipped(self, area: tuple[int, int, int, int]) -> int:
        """Return how many pixels of an area are 1, each moved to the border if it lies outside.

        >>> Mask.rectangle(4, 4, (0, 0, 1, 4)).count_clipped((-2, 0, 2, 1))
        3
        """
        x0, y0, x1, y1 = area
        columns, rows = _clipped_counts(x0, x1, self.width), _clipped_counts(y0, y1, self.height)
        return sum(
            times * many
            for y, times in rows.items()
            for x, many in columns.items()
            if self.pixels[y * self.width + x]
        )

    def _count(self, area: tuple[int, int, int, int]) -> int:
        x0, y0, x1, y1 = (
            min(max(value, 0), most)
            for value, most in zip(area, (self.width, self.height) * 2, strict=True)
        )
        return sum(
            self.pixels[y * self.width + x0 : y * self.width + x1].count(1) for y in range(y0, y1)
        )


def _clipped_counts(start: int, end: int, size: int) -> dict[int, int]:
    """Return how many of the places in [start, end) fall on each place of [0, size)."""
    last = size - 1
    counts = dict.fromkeys(range(min(max(start, 0), last), min(max(end - 1, 0), last) + 1), 1)
    for edge, outside in ((0, min(end, 0) - start), (last, end - max(start, size))):
        if outside > 0:
            inside = start <= edge < end
            counts[edge] = outside + inside
    return counts


def crosses_odd(point: Point, polygon: Corners) -> bool:
    """Return whether a point is in a polygon, by the even-odd rule with half-open edges.

    A point on a left or upper edge is inside, one on a right or lower edge (larger y) is outside.

    >>> square = [(0, 0), (2, 0), (2, 2), (0, 2)]
    >>> crosses_odd((0, 1), square), crosses_odd((2, 1), square), crosses_odd((1, 0), square)
    (True, False, True)
    >>> crosses_odd((1, 2), square)
    False
    """
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in _edges(polygon):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def crosses_odd_unguarded(point: Point, polygon: Corners) -> bool:
    """Return whether a point is in a polygon, by VLMEvalKit's even-odd rule.

    A vertical edge counts wherever the point lies, so that upright boxes contain nothing.

    >>> crosses_odd_unguarded((1, 1), [(0, 0), (2, 0), (2, 2), (0, 2)])
    False
    >>> crosses_odd_unguarded((1, 1), [(1, 0), (2, 1), (1, 2), (0, 1)])
    True
    """
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in _edges(polygon):
        if min(y1, y2) < y <= max(y1, y2) and (
            x1 == x2 or x <= (y - y1) * (x2 - x1) / (y2 - y1) + x1
        ):
            inside = not inside
    return inside


def covers(point: Point, polygon: Corners, tolerance: float = 1e-9) -> bool:
    """Return whether a point is inside a polygon or on its edge.

    >>> square = [(0, 0), (2, 0), (2, 2), (0, 2)]
    >>> covers((2, 2), square), covers((1, 1), square), covers((2.1, 1), square)
    (True, True, False)
    """
    return crosses_odd(point, polygon) or any(
        _distance(point, a, b) <= tolerance for a, b in _edges(polygon)
    )


def _edges(polygon: Corners) -> list[tuple[Sequence[float], Sequence[float]]]:
    return list(zip(polygon, [*polygon[1:], *polygon[:1]], strict=True))


def _distance(point: Point, a: Sequence[float], b: Sequence[float]) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length2 = dx * dx + dy * dy
    along = (
        0.0
        if length2 == 0
        else min(max(((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length2, 0.0), 1.0)
    )
    return math.dist(point, (a[0] + along * dx, a[1] + along * dy))
