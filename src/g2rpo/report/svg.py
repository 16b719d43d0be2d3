"""The parts every plot is made of: scales, ticks, numbers as text, axes and legends, as SVG strings.

Lengths are pixels at the size the plot is drawn in the page. Every text that comes in is escaped here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, Self

from g2rpo.report.palette import GRID, INK, MUTED

CHARACTER_PX = 6.7
"""Width of a character of a wide sans-serif font at 12 px: legends must not overlap, whatever font the reader has."""
KEY_GAP_PX = 18.0
LEGEND_ROW_PX = 18.0
Anchor = Literal["start", "middle", "end"]
Mark = Literal["line", "dashed", "area"]


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend; `strength` is the opacity of an area."""

    words: str
    color: str
    mark: Mark = "line"
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear map from [low, high] to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float

    def px(self, value: float) -> float:
        """Position of a value; values beyond the ends are drawn at the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the data are drawn, with both scales."""

    x: Scale
    y: Scale

    @classmethod
    def inside(cls, *, width: int, height: int, top: float, x_range: tuple[float, float], y_range: tuple[float, float]) -> Self:
        """Leaves room for tick labels on the left, for the axis label below, and for title and legend above (`top`)."""
        return cls(Scale(*x_range, 58.0, width - 12.0), Scale(*y_range, height - 40.0, top))

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float] | None]:
        """Pixel positions; None where a value is missing."""
        return [(self.x.px(x), self.y.px(y)) if math.isfinite(x) and math.isfinite(y) else None for x, y in zip(xs, ys, strict=True)]


def tick_step(low: float, high: float, most: int = 6) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts [low, high] into at most `most` pieces.

    >>> tick_step(0.0, 1.0), tick_step(0.0, 119.0)
    (0.2, 20.0)
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def ticks(low: float, high: float, *, least_step: float = 0.0) -> list[float]:
    """Round numbers in [low, high], `least_step` or more apart.

    >>> ticks(3.0, 58.0)
    [10.0, 20.0, 30.0, 40.0, 50.0]
    """
    step = max(least_step, tick_step(low, high))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def rounded_range(values: Iterable[float], *, keep_zero: bool) -> tuple[float, float]:
    """The range of the finite values, widened to whole ticks; (0, 1) where there are none.

    >>> rounded_range([3.0, 41.0], keep_zero=True), rounded_range([0.5, 0.5], keep_zero=False)
    ((0.0, 50.0), (0.0, 1.0))
    """
    finite = [value for value in values if math.isfinite(value)] + ([0.0] if keep_zero else [])
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low <= 1e-9 * max(1.0, abs(high)):
        low, high = low - abs(low), high + (abs(high) or 1.0)
    step = tick_step(low, high)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def number_text(value: float) -> str:
    """A tick's number, short.

    >>> number_text(0.2), number_text(12000.0), number_text(5e-05)
    ('0.2', '12000', '5e-05')
    """
    return f"{0.0 if abs(value) < 1e-12 else value:.6g}"


def label(x: float, y: float, words: str, *, anchor: Anchor = "start", kind: str = "label") -> str:
    """One line of text; `kind` is its style class."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def axes(frame: Frame, *, x_label: str, y_label: str) -> str:
    """Grid lines, tick labels and the names of both axes. The y axis is named at its upper end, to be read without turning the head."""
    left, right, bottom, top = frame.x.start_px, frame.x.end_px, frame.y.start_px, frame.y.end_px
    parts = []
    for tick in ticks(frame.y.low, frame.y.high):
        y = frame.y.px(tick)
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        parts.append(label(left - 6, y + 4, number_text(tick), anchor="end", kind="y tick"))
    for tick in ticks(frame.x.low, frame.x.high, least_step=1.0):
        x = frame.x.px(tick)
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom:.1f}v4"/>')
        parts.append(label(x, bottom + 17, number_text(tick), anchor="middle", kind="x tick"))
    parts.append(f'<path class="axis" d="M{left:.1f} {bottom:.1f}H{right:.1f}"/>')
    parts += [label(left, top - 7, y_label, kind="unit"), label(right, bottom + 33, x_label, anchor="end", kind="unit")]
    return "".join(parts)


def legend(keys: Sequence[Key], *, y: float, width: float) -> tuple[str, float]:
    """Entries in rows, wrapped at `width`; returns the SVG and the height used."""
    parts, at, row = [], 0.0, 0
    for key in keys:
        needed = 24 + CHARACTER_PX * len(key.words) + KEY_GAP_PX
        if at > 0 and at + needed > width + KEY_GAP_PX:
            at, row = 0.0, row + 1
        middle = y + row * LEGEND_ROW_PX
        parts += [_swatch(at, middle, key), label(at + 24, middle + 4, key.words)]
        at += needed
    return f'<g class="legend">{"".join(parts)}</g>', (row + 1) * LEGEND_ROW_PX


def _swatch(x: float, y: float, key: Key) -> str:
    if key.mark == "area":
        return f'<rect x="{x:.1f}" y="{y - 5:.1f}" width="18" height="10" fill="{key.color}" fill-opacity="{key.strength:g}"/>'
    dash = ' stroke-dasharray="4 3"' if key.mark == "dashed" else ""
    return f'<path d="M{x:.1f} {y:.1f}h18" stroke="{key.color}" stroke-width="2.5" fill="none"{dash}/>'


def drawing(*, width: int, height: int, title: str, body: str) -> str:
    """The whole plot, with its title as the accessible name."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    heading = label(0, 14, title, kind="plot-title")
    return f'<svg class="plot" role="img" aria-label="{escape(title)}" {size}>{heading}{body}</svg>'


SVG_STYLE = f"""
svg.plot {{ display: block; max-width: 100%; height: auto; overflow: visible; }}
svg text {{ font-size: 12px; fill: {INK}; }}
svg .plot-title {{ font-size: 14px; font-weight: 600; }}
svg .tick, svg .unit {{ fill: {MUTED}; }}
svg .grid {{ stroke: {GRID}; fill: none; }}
svg .axis {{ stroke: #9aa5b0; fill: none; }}
"""
