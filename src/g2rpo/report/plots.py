"""Figures for plotly.js as plain dictionaries: curves, histograms, bars, a matrix, gains.

A color `var(--name)`, or `var(--name, opacity)`, is looked up in the style of the page, so that
figures follow its light and dark mode.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g2rpo.report.smooth import bucket_size, bucketed, running_mean, window_size

INK, MUTED, BEFORE, AFTER = "var(--ink)", "var(--muted)", "var(--before)", "var(--after)"
COLORS = tuple(f"var(--line{i})" for i in range(8))
"""Colors of lines that are no tasks, in order."""
TASK_COLORS = 12
BIN, BINS = 0.25, 24
"""Advantages are counted in bins from -3 to 3; the outermost bins hold what lies beyond."""
Trace = dict[str, Any]


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


def task_palette(tasks: Sequence[str]) -> dict[str, str]:
    """Return the color of each task of a page; beyond `TASK_COLORS` tasks, colors repeat."""
    return {task: f"var(--task{place % TASK_COLORS})" for place, task in enumerate(tasks)}


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
    """Draw curves over steps: single steps as faint points, their running mean as a line.

    Args:
        title: Heading of the plot.
        unit: What the y axis counts.
        lines: The curves.
        bands: Drawn behind the curves and cut off at the frame.
        reference: A value to compare with, drawn as a dashed line.
        y_range: Ends of the y axis; None takes them from data, first band and reference.
        keep_zero: Whether a y axis that is taken from the data must reach 0.
    """
    low, high = y_range or _value_range(lines, bands, reference, keep_zero)
    shapes = [_stripe(band, low, high) for band in bands if band.low < high and band.high > low]
    if reference is not None:
        dashed = {"color": MUTED, "width": 1, "dash": "dash"}
        shapes.append({**_across(reference, reference), "type": "line", "line": dashed})
    y_axis = {"title": {"text": unit}, "range": numbers((low, high))}
    layout = {"xaxis": _step_axis(lines), "yaxis": y_axis, "shapes": shapes}
    return _figure(title, [trace for line in lines for trace in _curve(line)], layout)


def _figure(title: str, data: Sequence[Trace], layout: Mapping[str, Any]) -> Figure:
    return Figure(title=title, spec={"data": data, "layout": layout})


def _scatter(mode: str, x: Iterable[float], y: Sequence[Any], **look: Any) -> Trace:
    return {"type": "scatter", "mode": mode, "x": numbers(x), "y": y, **look}


def _step_axis(lines: Sequence[Line]) -> dict[str, Any]:
    """The x axis, with a tick at every step of a short run."""
    steps = [step for line in lines for step in line.steps]
    few = bool(steps) and max(steps) - min(steps) <= 8
    return {"title": {"text": "step"}, **({"dtick": 1} if few else {})}


def _curve(line: Line) -> list[Trace]:
    size = bucket_size(len(line.values))
    steps, values = bucketed(line.steps, size), bucketed(line.values, size)
    smooth = numbers(running_mean(values, window_size(len(values))))
    names = {"name": line.name, "legendgroup": line.name}
    dots = {"size": 4, "color": line.color, "opacity": 0.35}
    hidden = {"showlegend": False, "hoverinfo": "skip"}
    told = "%{customdata:.4g}, smoothed %{y:.4g}"
    look = {**names, "line": {"color": line.color, "width": 2}, "hovertemplate": told}
    mode = "lines+markers" if len(values) == 1 else "lines"
    return [
        _scatter("markers", steps, numbers(values), marker=dots, **names, **hidden),
        _scatter(mode, steps, smooth, customdata=numbers(values), **look),
    ]


def _value_range(
    lines: Sequence[Line], bands: Sequence[Band], reference: float | None, keep_zero: bool
) -> tuple[float, float]:
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
    font = {"size": 10, "color": MUTED}
    label = {"text": band.name, "textposition": "top right", "font": font}
    look = {"fillcolor": MUTED, "opacity": band.strength, "line": {"width": 0}, "label": label}
    return {**_across(max(band.low, low), min(band.high, high)), "type": "rect", **look}


def range_plot(
    title: str, unit: str, lines: Sequence[tuple[Line, Sequence[float], Sequence[float]]]
) -> Figure:
    """Draw curves, each with its lowest and highest values as a band around it."""
    data: list[Trace] = []
    for line, low, high in lines:
        group = {"legendgroup": line.name}
        edge = {**group, "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        fill = {"fill": "tonexty", "fillcolor": line.color.replace(")", ", 0.15)")}
        look = {**group, "name": line.name, "line": {"color": line.color, "width": 2}}
        mode = "lines+markers" if len(line.steps) == 1 else "lines"
        data += [
            _scatter("lines", line.steps, numbers(low), **edge),
            _scatter("lines", line.steps, numbers(high), **edge, **fill),
            _scatter(mode, line.steps, numbers(line.values), hovertemplate="%{y:.3f}", **look),
        ]
    x_axis = _step_axis([line for line, _, _ in lines])
    return _figure(title, data, {"xaxis": x_axis, "yaxis": {"title": {"text": unit}}})


def densities(values: Sequence[float]) -> list[float]:
    """Return the share of the finite values per bin, divided by its width."""
    finite = [value for value in values if math.isfinite(value)]
    edge = BINS * BIN / 2
    inner = np.clip(finite, -edge, edge)
    counts, _ = np.histogram(inner, BINS, (-edge, edge))
    return [float(count) for count in counts / (max(1, len(finite)) * BIN)]


def histogram(title: str, color: str, *, first: Sequence[float], last: Sequence[float]) -> Figure:
    """Draw two sets of advantages as densities, with the bell curve N(0, 1)."""
    centers = [(i + 0.5 - BINS / 2) * BIN for i in range(BINS)]
    bell = [math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in centers]
    area = {"type": "bar", "width": BIN, "marker": {"color": MUTED, "opacity": 0.5}}
    edges = {"color": color, "width": 2, "shape": "hvh"}
    dashed = {"color": INK, "width": 1, "dash": "dash"}
    data = [
        {
            **area,
            "x": centers,
            "y": numbers(densities(first)),
            "name": f"first quarter ({len(first)})",
        },
        _scatter(
            "lines",
            centers,
            numbers(densities(last)),
            name=f"last quarter ({len(last)})",
            line=edges,
        ),
        _scatter("lines", centers, numbers(bell), name="N(0, 1)", line=dashed),
    ]
    layout = {"xaxis": {"title": {"text": "advantage"}}, "yaxis": {"title": {"text": "density"}}}
    return _figure(title, [{**trace, "hovertemplate": "%{y:.3f}"} for trace in data], layout)


def _rows(count: int, unit: str = "", **axis: Any) -> dict[str, Any]:
    """Layout with one row per name, from the top."""
    rows = {"autorange": "reversed", "type": "category"}
    x_axis = {"title": {"text": unit}, **axis}
    height = max(250, 110 + 26 * count)
    return {"xaxis": x_axis, "yaxis": rows, "hovermode": "closest", "height": height}


def bars(title: str, unit: str, values: Mapping[str, float]) -> Figure:
    """Draw named amounts, one bar each."""
    words = [f"{value:.1f} {unit}" for value in values.values()]
    trace: Trace = {
        "type": "bar",
        "orientation": "h",
        "x": numbers(values.values()),
        "y": [*values],
    }
    look = {"marker": {"color": AFTER}, "text": words, "textposition": "auto", "hoverinfo": "skip"}
    return _figure(title, [trace | look], _rows(len(values), unit))


def matrix(title: str, names: Sequence[str], values: Mapping[tuple[str, str], float]) -> Figure:
    """Draw a symmetric matrix of cosines; `values` needs each pair in one order."""
    both = {**values, **{(b, a): value for (a, b), value in values.items()}}
    both |= {(name, name): 1.0 for name in names}
    cells = [numbers(both.get((a, b), math.nan) for b in names) for a in names]
    scale = [[0, BEFORE], [0.5, "var(--paper)"], [1, AFTER]]
    trace: Trace = {
        "type": "heatmap",
        "x": [*names],
        "y": [*names],
        "z": cells,
        "zmin": -1,
        "zmax": 1,
    }
    told = "%{y}, %{x}: %{z:.3f}<extra></extra>"
    look = {"colorscale": scale, "texttemplate": "%{z:.2f}", "hovertemplate": told}
    return _figure(title, [trace | look], _rows(len(names), type="category"))


def before_after(title: str, rows: Sequence[tuple[str, float, float]]) -> Figure:
    """Draw a line from the score before to the score after, one row per name."""
    names = [name for name, _, _ in rows]
    ends = [x for _, before, after in rows for x in (before, after, math.nan)]
    way = {"line": {"color": MUTED, "width": 3}, "hoverinfo": "skip", "showlegend": False}
    data = [_scatter("lines", ends, [name for name in names for _ in range(3)], **way)]
    sides = (("before", BEFORE, "circle-open", 1), ("after", AFTER, "circle", 2))
    for name, color, symbol, side in sides:
        marker = {"color": color, "size": 11, "symbol": symbol, "line": {"width": 2}}
        scores = [float(row[side]) for row in rows]
        look = {"name": name, "marker": marker, "hovertemplate": "%{y}: %{x:.3f}"}
        data.append(_scatter("markers", scores, names, **look))
    return _figure(title, data, _rows(len(rows), "accuracy", range=[0, 1.02]))


def gains(title: str, rows: Mapping[str, tuple[float, float, Sequence[float]]]) -> Figure:
    """Draw gains by name: mean, half of its interval (NaN if unknown), and every seed's gain."""
    seeds = [(name, value) for name, (_, _, own) in rows.items() for value in own]
    halves = numbers(half for _, half, _ in rows.values())
    bar = {"size": 13, "symbol": "line-ns", "color": INK, "line": {"width": 3, "color": INK}}
    told = {"hovertemplate": "%{y}: %{x:+.3f}"}
    dots = {"name": "one seed", "marker": {"color": AFTER, "opacity": 0.5, "size": 8}, **told}
    interval = {"type": "data", "array": halves, "color": INK, "thickness": 2}
    look = {"name": "mean, 95% t interval", "error_x": interval, "marker": bar, **told}
    data = [
        _scatter("markers", [value for _, value in seeds], [name for name, _ in seeds], **dots),
        _scatter("markers", [mean for mean, _, _ in rows.values()], [*rows], **look),
    ]
    zero = {"zeroline": True, "zerolinecolor": MUTED}
    return _figure(title, data, _rows(len(rows), "gain in held-out score", **zero))
