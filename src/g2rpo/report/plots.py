"""The kinds of plot the page has: curves over steps, a histogram against the bell curve, bars, and a before-after line for tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from g2rpo.report.palette import AFTER, BEFORE, GRID, INK, MUTED
from g2rpo.report.smooth import bucket_size, bucketed, running_mean, window_size
from g2rpo.report.svg import Frame, Key, Scale, axes, drawing, label, legend, rounded_range

BIN = 0.25
BINS = 24
"""Advantages are counted in bins from -3 to 3; the outermost bins hold what lies beyond."""


EARLY = "#7a8794"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One curve: a value per step, NaN where there is none."""

    name: str
    color: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A horizontal stripe, in the unit of the y axis; `strength` is the opacity it appears in."""

    name: str
    low: float
    high: float
    strength: float
    color: str = "#7a8794"


def line_plot(
    *,
    title: str,
    unit: str,
    lines: Sequence[Line],
    bands: Sequence[Band] = (),
    reference: float | None = None,
    y_range: tuple[float, float] | None = None,
    keep_zero: bool = False,
    width: int = 584,
    height: int = 280,
) -> str:
    """Curves over steps: single steps as faint points, their running mean as a line.

    Args:
        unit: What the y axis counts.
        bands: Drawn behind the curves and cut off at the frame.
        reference: A value to compare with, drawn as a dashed line.
        y_range: Ends of the y axis; None takes them from the data, the band nearest to them and the reference.
        keep_zero: The y axis taken from the data shall reach 0.
    """
    keys = [Key(line.name, line.color) for line in lines] + [Key(band.name, band.color, "area", band.strength) for band in bands]
    key, key_height = legend(keys, y=32, width=width)
    frame = Frame.inside(
        width=width,
        height=height,
        top=32 + key_height + 14,
        x_range=_step_range(lines),
        y_range=y_range or _value_range(lines, bands, reference, keep_zero),
    )
    drawn = [_stripe(frame, band) for band in bands] + [axes(frame, x_label="step", y_label=unit)]
    if reference is not None:
        level = f"M{frame.x.start_px:.1f} {frame.y.px(reference):.1f}H{frame.x.end_px:.1f}"
        drawn.append(f'<path d="{level}" stroke="{MUTED}" stroke-dasharray="5 4"/>')
    drawn += [_curve(frame, line) for line in lines]
    return drawing(width=width, height=height, title=title, body=key + "".join(drawn))


def _step_range(lines: Sequence[Line]) -> tuple[float, float]:
    steps = [step for line in lines for step in line.steps]
    low, high = (min(steps), max(steps)) if steps else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _value_range(lines: Sequence[Line], bands: Sequence[Band], reference: float | None, keep_zero: bool) -> tuple[float, float]:
    values = [value for line in lines for value in line.values]
    values += [bound for band in bands[:1] for bound in (band.low, band.high)]
    return rounded_range(values + ([] if reference is None else [reference]), keep_zero=keep_zero)


def _stripe(frame: Frame, band: Band) -> str:
    top, bottom = frame.y.px(band.high), frame.y.px(band.low)
    size = f'x="{frame.x.start_px:.1f}" y="{top:.1f}" width="{frame.x.end_px - frame.x.start_px:.1f}" height="{bottom - top:.1f}"'
    return f'<rect class="band" {size} fill="{band.color}" fill-opacity="{band.strength:g}"><title>{escape(band.name)}</title></rect>'


def _curve(frame: Frame, line: Line) -> str:
    size = bucket_size(len(line.values))
    xs, ys = bucketed(line.steps, size), bucketed(line.values, size)
    dots = "".join(f"M{x:.2f} {y:.2f}h0" for x, y in filter(None, frame.points(xs, ys)))
    path = _path(frame.points(xs, running_mean(ys, window_size(len(ys)))))
    finite = [value for value in line.values if math.isfinite(value)]
    tip = f"{line.name}: first {finite[0]:.4g}, last {finite[-1]:.4g}" if finite else line.name
    return (
        f'<g class="curve"><title>{escape(tip)}</title>'
        f'<path class="points" d="{dots}" stroke="{line.color}" stroke-width="3.4" stroke-linecap="round" stroke-opacity="0.33"/>'
        f'<path class="mean" d="{path}" stroke="{line.color}" stroke-width="2" stroke-linejoin="round" fill="none"/></g>'
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Connected where neighbours are there, broken where one is missing."""
    words, connected = [], False
    for point in points:
        if point is not None:
            words.append(f"{'L' if connected else 'M'}{point[0]:.2f} {point[1]:.2f}")
        connected = point is not None
    return "".join(words)


def densities(values: Sequence[float]) -> list[float]:
    """Share of the finite values per bin, divided by the bin's width; zeros where there are none."""
    counts = [0] * BINS
    for value in values:
        if math.isfinite(value):
            counts[min(BINS - 1, max(0, math.floor(value / BIN) + BINS // 2))] += 1
    total = sum(counts)
    return [count / (total * BIN) if total else 0.0 for count in counts]


def histogram(*, title: str, color: str, first: Sequence[float], last: Sequence[float], width: int = 384, height: int = 250) -> str:
    """Two sets of advantages as densities over the bell curve N(0, 1)."""
    reach = BIN * BINS / 2
    bell = [(x, math.exp(-x * x / 2) / math.sqrt(2 * math.pi)) for x in (-reach + i * reach / 30 for i in range(61))]
    before, after = densities(first), densities(last)
    keys = [Key("first quarter", EARLY, "area", 0.35), Key("last quarter", color), Key("N(0, 1)", INK, "dashed")]
    key, key_height = legend(keys, y=32, width=width)
    frame = Frame.inside(
        width=width,
        height=height,
        top=32 + key_height + 14,
        x_range=(-reach, reach),
        y_range=rounded_range([*before, *after, bell[30][1]], keep_zero=True),
    )
    curve = _path(frame.points([x for x, _ in bell], [y for _, y in bell]))
    body = [
        axes(frame, x_label="advantage", y_label="density"),
        f'<path class="first" d="{_steps(frame, before)}Z" fill="{EARLY}" fill-opacity="0.35">{_count_tip("first", first)}</path>',
        f'<path class="last" d="{_steps(frame, after)}" fill="none" stroke="{color}" stroke-width="2">{_count_tip("last", last)}</path>',
        f'<path d="{curve}" stroke="{INK}" stroke-width="1.2" stroke-dasharray="4 3" fill="none"/>',
    ]
    return drawing(width=width, height=height, title=title, body=key + "".join(body))


def _count_tip(quarter: str, values: Sequence[float]) -> str:
    return f"<title>{quarter} quarter: {len(values)} completions</title>"


def _steps(frame: Frame, heights: Sequence[float]) -> str:
    left, bottom = frame.x.low, frame.y.start_px
    tops = "".join(f"V{frame.y.px(height):.2f}H{frame.x.px(left + (i + 1) * BIN):.2f}" for i, height in enumerate(heights))
    return f"M{frame.x.start_px:.2f} {bottom:.2f}{tops}V{bottom:.2f}"


def bars(*, title: str, unit: str, values: Sequence[tuple[str, float]], width: int = 584) -> str:
    """Named amounts, one bar each, with the amount written behind it."""
    height, longest = 30 + 26 * len(values), max((value for _, value in values), default=1.0) or 1.0
    scale = Scale(0.0, longest, 0.0, width - 270.0)
    rows = []
    for i, (name, value) in enumerate(values):
        y = 42 + 26 * i
        rows.append(f'<rect x="150" y="{y - 12}" width="{scale.px(value):.1f}" height="16" fill="#5f86a8"/>')
        rows += [label(142, y, name, anchor="end"), label(156 + scale.px(value), y, f"{value:.1f} {unit}", kind="unit")]
    return drawing(width=width, height=height, title=title, body="".join(rows))


def before_after(before: float, after: float, width: int = 190) -> str:
    """A line from 0 to 1 with a hollow dot before and a filled dot after; a missing value has no dot."""
    scale = Scale(0.0, 1.0, 8.0, width - 8.0)
    marks = [f'<path d="M{scale.px(at):.1f} 3v16" stroke="{GRID}"/>' for at in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if math.isfinite(before) and math.isfinite(after):
        way = f"M{scale.px(before):.1f} 11H{scale.px(after):.1f}"
        marks.append(f'<path d="{way}" stroke="{AFTER}" stroke-width="3" stroke-opacity="0.45"/>')
    if math.isfinite(before):
        marks.append(f'<circle cx="{scale.px(before):.1f}" cy="11" r="4.5" fill="#fff" stroke="{BEFORE}" stroke-width="2"/>')
    if math.isfinite(after):
        marks.append(f'<circle cx="{scale.px(after):.1f}" cy="11" r="5" fill="{AFTER}"/>')
    size = f'width="{width}" height="22" viewBox="0 0 {width} 22"'
    return f'<svg class="plot" role="img" aria-label="from {before:.3f} to {after:.3f}" {size}>{"".join(marks)}</svg>'
