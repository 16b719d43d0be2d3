"""Figures for plotly.js as plain dictionaries: curves over steps, a histogram, bars, a matrix, gains, scores before and after.

A color `var(--name)`, or `var(--name, opacity)`, is looked up in the style of the page, so that figures follow its light and
dark mode.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from g2rpo.report.smooth import bucket_size, bucketed, running_mean, window_size

INK, MUTED, BEFORE, AFTER = "var(--ink)", "var(--muted)", "var(--before)", "var(--after)"
COLORS = tuple(f"var(--line{i})" for i in range(8))
"""Colors of lines that are no tasks, in order."""
BIN, BINS = 0.25, 24
"""Advantages are counted in bins from -3 to 3; the outermost bins hold what lies beyond."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One curve: a value per step, NaN where there is none."""

    name: str
    color: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A horizontal stripe, in the unit of the y axis; `strength` is its opacity."""

    name: str
    low: float
    high: float
    strength: float = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A titled plot; `spec` holds `data` and `layout` of plotly.js."""

    title: str
    spec: Mapping[str, Any]


def task_color(task: str) -> str:
    """Return the color of a task, the same in every plot."""
    return f"var(--{task})"


def numbers(values: Iterable[float]) -> list[float | None]:
    """Return five significant digits each, and null for what is no number, as JSON needs it.

    >>> numbers([0.1234567, math.nan, 3])
    [0.12346, None, 3.0]
    """
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]


def line_plot(
    title: str,
    unit: str,
    lines: Sequence[Line],
    *,
    bands: Sequence[Band] = (),
    reference: float | None = None,
    y_range: tuple[float, float] | None = None,
    keep_zero: bool = False,
) -> Figure:
    """Draw curves over steps: single steps as faint points, their running mean as a line; hovering shows both.

    Args:
        title: Heading of the plot.
        unit: What the y axis counts.
        lines: The curves.
        bands: Drawn behind the curves and cut off at the frame.
        reference: A value to compare with, drawn as a dashed line.
        y_range: Ends of the y axis; None takes them from the data, the first band and the reference.
        keep_zero: Whether a y axis that is taken from the data must reach 0.
    """
    low, high = y_range or _value_range(lines, bands, reference, keep_zero)
    shapes = [_stripe(band, low, high) for band in bands if band.low < high and band.high > low]
    if reference is not None:
        shapes.append({**_across(reference, reference), "type": "line", "line": {"color": MUTED, "width": 1, "dash": "dash"}})
    layout = {"xaxis": _step_axis(lines), "yaxis": {"title": {"text": unit}, "range": numbers((low, high))}, "shapes": shapes}
    return Figure(title=title, spec={"data": [trace for line in lines for trace in _curve(line)], "layout": layout})


def _step_axis(lines: Sequence[Line]) -> dict[str, Any]:
    """The x axis, with a tick at every step of a short run."""
    steps = [step for line in lines for step in line.steps]
    few = bool(steps) and max(steps) - min(steps) <= 8
    return {"title": {"text": "step"}, **({"dtick": 1} if few else {})}


def _curve(line: Line) -> list[dict[str, Any]]:
    size = bucket_size(len(line.values))
    steps, values = bucketed(line.steps, size), bucketed(line.values, size)
    shared = {"type": "scatter", "x": numbers(steps), "name": line.name, "legendgroup": line.name}
    mean = numbers(running_mean(values, window_size(len(values))))
    dots = {"size": 4, "color": line.color, "opacity": 0.35}
    return [
        {**shared, "mode": "markers", "y": numbers(values), "marker": dots, "showlegend": False, "hoverinfo": "skip"},
        {
            **shared, "mode": "lines+markers" if len(values) == 1 else "lines", "y": mean, "customdata": numbers(values),
            "line": {"color": line.color, "width": 2}, "hovertemplate": "%{customdata:.4g}, smoothed %{y:.4g}",
        },
    ]  # fmt: skip


def _value_range(lines: Sequence[Line], bands: Sequence[Band], reference: float | None, keep_zero: bool) -> tuple[float, float]:
    values = [value for line in lines for value in line.values]
    values += [end for band in bands[:1] for end in (band.low, band.high)]
    values += [0.0] * keep_zero + ([] if reference is None else [reference])
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return (0.0 if keep_zero and low == 0 else low - margin), high + margin


def _across(low: float, high: float) -> dict[str, Any]:
    return {"xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high, "layer": "below"}


def _stripe(band: Band, low: float, high: float) -> dict[str, Any]:
    label = {"text": band.name, "textposition": "top right", "font": {"size": 10, "color": MUTED}}
    look = {"type": "rect", "fillcolor": MUTED, "opacity": band.strength, "line": {"width": 0}, "label": label}
    return {**_across(max(band.low, low), min(band.high, high)), **look}


def range_plot(title: str, unit: str, lines: Sequence[tuple[Line, Sequence[float], Sequence[float]]]) -> Figure:
    """Draw curves, each with its lowest and highest values as a band around it."""
    data: list[dict[str, Any]] = []
    for line, low, high in lines:
        faint = line.color.replace(")", ", 0.15)")
        shared = {"type": "scatter", "mode": "lines", "x": numbers(line.steps), "legendgroup": line.name}
        edge = {**shared, "line": {"width": 0, "color": line.color}, "showlegend": False, "hoverinfo": "skip"}
        data += [
            {**edge, "y": numbers(low)},
            {**edge, "y": numbers(high), "fill": "tonexty", "fillcolor": faint},
        ]
        data.append({
            **shared, "y": numbers(line.values), "name": line.name, "line": {"color": line.color, "width": 2},
            "mode": "lines+markers" if len(line.steps) == 1 else "lines", "hovertemplate": "%{y:.3f}",
        })  # fmt: skip
    layout = {"xaxis": _step_axis([line for line, _, _ in lines]), "yaxis": {"title": {"text": unit}}}
    return Figure(title=title, spec={"data": data, "layout": layout})


def densities(values: Sequence[float]) -> list[float]:
    """Return the share of the finite values per bin, divided by its width; zeros if there are none."""
    counts = [0] * BINS
    for value in values:
        if math.isfinite(value):
            counts[min(BINS - 1, max(0, math.floor(value / BIN) + BINS // 2))] += 1
    total = sum(counts)
    return [count / (total * BIN) if total else 0.0 for count in counts]


def histogram(title: str, color: str, *, first: Sequence[float], last: Sequence[float]) -> Figure:
    """Draw two sets of advantages as densities, with the bell curve N(0, 1)."""
    centers = [(i + 0.5 - BINS / 2) * BIN for i in range(BINS)]
    bell = [math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in centers]
    data: list[dict[str, Any]] = [
        {"type": "bar", "y": numbers(densities(first)), "name": f"first quarter ({len(first)})", "width": BIN,
         "marker": {"color": MUTED, "opacity": 0.5}},
        {"type": "scatter", "mode": "lines", "y": numbers(densities(last)), "name": f"last quarter ({len(last)})",
         "line": {"color": color, "width": 2, "shape": "hvh"}},
        {"type": "scatter", "mode": "lines", "y": numbers(bell), "name": "N(0, 1)", "line": {"color": INK, "width": 1, "dash": "dash"}},
    ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": "advantage"}}, "yaxis": {"title": {"text": "density"}}}
    return Figure(title=title, spec={"data": [{**trace, "x": centers, "hovertemplate": "%{y:.3f}"} for trace in data], "layout": layout})


def bars(title: str, unit: str, values: Mapping[str, float]) -> Figure:
    """Draw named amounts, one bar each."""
    amounts = list(values.values())
    trace = {
        "type": "bar", "orientation": "h", "x": numbers(amounts), "y": list(values), "marker": {"color": AFTER},
        "text": [f"{value:.1f} {unit}" for value in amounts], "textposition": "auto", "hoverinfo": "skip",
    }  # fmt: skip
    return Figure(title=title, spec={"data": [trace], "layout": {"xaxis": {"title": {"text": unit}}, **_rows(len(amounts))}})


def _rows(count: int) -> dict[str, Any]:
    """Layout with one row per name, from the top."""
    return {"yaxis": {"autorange": "reversed", "type": "category"}, "hovermode": "closest", "height": max(250, 110 + 26 * count)}


def matrix(title: str, names: Sequence[str], values: Mapping[tuple[str, str], float]) -> Figure:
    """Draw a symmetric matrix of cosines; `values` needs each pair in one order."""
    cells = [[1.0 if a == b else values.get((a, b), values.get((b, a), math.nan)) for b in names] for a in names]
    trace = {
        "type": "heatmap", "x": list(names), "y": list(names), "z": [numbers(row) for row in cells], "zmin": -1, "zmax": 1,
        "colorscale": [[0, BEFORE], [0.5, "var(--paper)"], [1, AFTER]], "texttemplate": "%{z:.2f}",
        "hovertemplate": "%{y}, %{x}: %{z:.3f}<extra></extra>",
    }  # fmt: skip
    layout = _rows(len(names))
    return Figure(title=title, spec={"data": [trace], "layout": {**layout, "xaxis": {"type": "category"}}})


def before_after(title: str, rows: Sequence[tuple[str, float, float]]) -> Figure:
    """Draw a line from the score before to the score after, one row per name."""
    ends = [x for _, before, after in rows for x in (before, after, math.nan)]
    names = [name for name, _, _ in rows for _ in range(3)]
    data: list[dict[str, Any]] = [
        {"mode": "lines", "x": numbers(ends), "y": names, "line": {"color": MUTED, "width": 3}, "hoverinfo": "skip", "showlegend": False}
    ]
    for name, color, which in (("before", BEFORE, 1), ("after", AFTER, 2)):
        marker = {"color": color, "size": 11, "symbol": "circle-open" if which == 1 else "circle", "line": {"width": 2}}
        points = numbers(row[which] for row in rows)  # type: ignore[misc]
        data.append({"mode": "markers", "name": name, "x": points, "y": [row[0] for row in rows], "marker": marker,
                     "hovertemplate": "%{y}: %{x:.3f}"})  # fmt: skip
    layout = {**_rows(len(rows)), "xaxis": {"range": [0, 1.02], "title": {"text": "accuracy"}}}
    return Figure(title=title, spec={"data": [{"type": "scatter", **trace} for trace in data], "layout": layout})


def gains(title: str, rows: Mapping[str, tuple[float, float, Sequence[float]]]) -> Figure:
    """Draw gains: for each name its mean, half of its interval (NaN if unknown), and the gain of every seed."""
    names = list(rows)
    halves = {"type": "data", "array": numbers(half for _, half, _ in rows.values()), "color": INK, "thickness": 2}
    seeds = [(name, value) for name, (_, _, own) in rows.items() for value in own]
    data = [
        {"name": "one seed", "x": numbers(value for _, value in seeds), "y": [name for name, _ in seeds],
         "marker": {"color": AFTER, "opacity": 0.5, "size": 8}},
        {"name": "mean, 95% t interval", "x": numbers(mean for mean, _, _ in rows.values()), "y": names, "error_x": halves,
         "marker": {"color": INK, "size": 13, "symbol": "line-ns", "line": {"width": 3, "color": INK}}},
    ]  # fmt: skip
    traces = [{"type": "scatter", "mode": "markers", "hovertemplate": "%{y}: %{x:+.3f}", **trace} for trace in data]
    layout = {**_rows(len(rows)), "xaxis": {"title": {"text": "gain in held-out score"}, "zeroline": True, "zerolinecolor": MUTED}}
    return Figure(title=title, spec={"data": traces, "layout": layout})
