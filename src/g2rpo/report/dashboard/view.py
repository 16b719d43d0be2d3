"""Sections and panels as plain data, derived from `metrics.py`: each metric is in one section."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from g2rpo.metrics import METRICS, Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One panel: lines over steps, or a table."""

    title: str
    unit: str = ""
    columns: tuple[str, ...] = ()
    """Logged columns, one line each."""
    pattern: str = ""
    """Regular expression for columns that only a run knows; each becomes one line."""
    table: str = ""
    """Key of a logged table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Panels below one heading."""

    name: str
    panels: tuple[Panel, ...]


SECTIONS: Mapping[str, tuple[str, ...]] = {
    "reward": ("reward", "filter", "curriculum"),
    "advantages": ("advantage",),
    "length and entropy": (
        "rollout/completion_tokens",
        "rollout/truncated_frac",
        "policy/entropy_nats",
        "shaping",
    ),
    "gradient conflict": ("gradient",),
    "benchmarks": ("benchmark", "val"),
    "loss and optimizer": ("loss", "optim"),
    "system": ("time", "rollout", "staleness", "policy", "rollout_batch"),
}
"""Metrics of each section, by noun (the part before the first `/`) or full name; a full name
takes precedence."""
BANDS: Mapping[str, tuple[str, str]] = {
    "rollout/completion_tokens": ("shaping/length_low_tokens", "shaping/length_high_tokens"),
    "policy/entropy_nats": ("shaping/entropy_low_nats", "shaping/entropy_high_nats"),
}
"""Metrics with one panel per task, and the two metrics that bound the band drawn with them."""
TABLES: Mapping[str, tuple[str, ...]] = {"reward": ("completions",), "benchmarks": ("benchmarks",)}
MACHINE = (
    Panel(title="GPU", unit="%", pattern=r"system/gpu\.\d+\.gpu"),
    Panel(title="GPU memory", unit="%", pattern=r"system/gpu\.\d+\.memoryAllocated"),
    Panel(title="CPU and memory", unit="%", columns=("system/cpu", "system/memory_percent")),
)
"""Metrics that W&B measures by itself."""


def view(tasks: Sequence[str] = (), metrics: Sequence[Metric] = METRICS) -> tuple[Section, ...]:
    """Return the sections from top to bottom.

    Args:
        tasks: The tasks of the runs. Each gets a panel of its own where bands are drawn; without
            them, one panel has the lines of all tasks.
        metrics: The metrics to show.

    Raises:
        ValueError: If a metric has no section.
    """
    for metric in metrics:
        section_of(metric)
    bounds = {bound for pair in BANDS.values() for bound in pair}
    sections = []
    for name in SECTIONS:
        own = [
            metric for metric in metrics if section_of(metric) == name and metric.name not in bounds
        ]
        panels = [panel for metric in own for panel in panels_of(metric, tasks)]
        panels += [Panel(title=table, table=table) for table in TABLES.get(name, ())]
        sections.append(
            Section(name=name, panels=(*panels, *(MACHINE if name == "system" else ())))
        )
    return tuple(sections)


def section_of(metric: Metric) -> str:
    """Return the name of the section that shows a metric."""
    noun = metric.name.partition("/")[0]
    for wanted in (metric.name, noun):
        for section, shown in SECTIONS.items():
            if wanted in shown:
                return section
    raise ValueError(
        f"g2rpo/report/dashboard/view.py: no section for {noun}/*; add {noun!r} to one of"
        f" {', '.join(SECTIONS)}"
    )


def panels_of(metric: Metric, tasks: Sequence[str]) -> list[Panel]:
    """Return one panel, or one per task if a band is drawn with the metric."""
    name, unit = metric.name, metric.unit
    if name in BANDS and tasks:
        return [
            Panel(
                title=f"{name}, {task}",
                unit=unit,
                columns=tuple(f"{each}/{task}" for each in (name, *BANDS[name])),
            )
            for task in tasks
        ]
    if metric.per_part:
        noun = name.partition("/")[0]
        others = "|".join(m.name for m in METRICS if m.name.startswith(f"{noun}/") and m != metric)
        return [Panel(title=name, unit=unit, pattern=f"(?!(?:{others})/){noun}/[^/]+/.+")]
    if metric.per_task or metric.per_pair or metric.per_benchmark:
        shown = f"({'|'.join((name, *BANDS[name]))})" if name in BANDS else name
        return [Panel(title=name, unit=unit, pattern=f"{shown}/.+")]
    return [Panel(title=name, unit=unit, columns=(name,))]


def as_json(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return the sections as JSON values; empty fields are omitted."""
    return [
        {
            "name": section.name,
            "panels": [
                {key: value for key, value in asdict(panel).items() if value}
                for panel in section.panels
            ],
        }
        for section in sections
    ]
