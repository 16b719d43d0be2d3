"""Draw the figures of the documents with matplotlib: panels side by side in one SVG file."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from g2rpo.report.smooth import running_mean, window_size

matplotlib.rcParams.update(
    {"svg.hashsalt": "g2rpo", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A value per step, with name and color."""

    name: str
    color: str
    steps: Sequence[float]
    values: Sequence[float]


def panel(
    axes: Axes,
    title: str,
    unit: str,
    curves: Sequence[Curve],
    *,
    low: float | None = None,
    high: float | None = None,
    band: tuple[str, float, float] | None = None,
) -> None:
    """Draw single steps faintly and their running mean as a line, over a band (name, low, high)."""
    for own in curves:
        axes.plot(own.steps, own.values, color=own.color, alpha=0.3, linewidth=0.7)
        axes.plot(
            own.steps,
            running_mean(own.values, window_size(len(own.values))),
            color=own.color,
            label=own.name,
        )
    if band is not None:
        axes.axhspan(band[1], band[2], color="#7a8794", alpha=0.2, label=band[0])
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.set_ylim(low, high)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def figure(
    panels: Sequence[Callable[[Axes], None]], *, columns: int = 1, size: tuple[float, float]
) -> str:
    """Return an SVG with panels of a size in inches; the same numbers give the same file."""
    rows = math.ceil(len(panels) / columns)
    whole = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    for axes, draw in zip(whole.subplots(rows, columns, squeeze=False).flat, panels, strict=True):
        draw(axes)
    file = io.StringIO()
    whole.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
