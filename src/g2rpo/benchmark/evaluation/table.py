"""A run's scores next to the paper's: on the terminal, as `table.csv` and as `table.html`."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from rich import box
from rich.console import Console
from rich.table import Table

from g2rpo.benchmark.evaluation.results import Entry, in_paper_order, macro, remarks
from g2rpo.benchmark.published import COLUMNS, DEMO, NOT_COMPARABLE
from g2rpo.files import write_whole

PLAIN_WIDTH = 200
"""Width of the table, in characters, if stdout is not a terminal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A row of the table: a benchmark, or a mean over some; scores in [0, 1], NaN if unknown."""

    name: str
    title: str
    full: int
    score: float
    paper: dict[str, float]
    entry: Entry | None = None

    def points(self, value: float) -> str:
        """Return a score as the paper prints it: in percent, or in points of 1000."""
        if not math.isfinite(value):
            return "-"
        return f"{value * self.full:.1f}" if self.full == 100 else f"{value * self.full:.0f}"


def lines(entries: Mapping[str, Entry]) -> list[Line]:
    """Return the rows of the table.

    Benchmarks come in the paper's order; each task ends with its mean, the table with the overall
    mean.
    """
    names = in_paper_order(entries)
    means = macro(entries)
    found = []
    for task in dict.fromkeys(entries[name]["task"] for name in names):
        own = [name for name in names if entries[name]["task"] == task]
        found += [_line(name, entries[name]) for name in own]
        if len(own) > 1:
            found.append(_mean_line(f"mean/{task}", f"mean, {task}", means[task], own, entries))
    return found + (
        [_mean_line("mean/all", f"mean of {len(names)}", means["macro"], names, entries)]
        if len(names) > 1
        else []
    )


def _line(name: str, entry: Entry) -> Line:
    paper = _published(entry)
    scores = paper.get("scores", dict.fromkeys(COLUMNS, math.nan))
    return Line(
        name=name,
        title=paper.get("title", name),
        full=paper.get("full", 100),
        score=entry["score"],
        paper=scores,
        entry=entry,
    )


def _published(entry: Entry) -> Mapping[str, Any]:
    """Return what the paper reports for a benchmark; empty if it does not report it."""
    return entry.get("published") or {}


def _mean_line(
    name: str, title: str, score: float, names: Sequence[str], entries: Mapping[str, Entry]
) -> Line:
    """Return a row with means; the paper's is unknown if it lacks one of the benchmarks."""
    known = [paper["scores"] for one in names if (paper := _published(entries[one]))]
    whole = len(known) == len(names)
    paper = {
        column: math.fsum(scores[column] for scores in known) / len(known) if whole else math.nan
        for column in COLUMNS
    }
    return Line(name=name, title=title, full=100, score=score, paper=paper)


def caption(entries: Mapping[str, Entry]) -> str:
    """Describe in one or two sentences how the scores were measured."""
    judges = sorted({entry["judge"] for entry in entries.values() if entry["judge"]})
    protocols = sorted({entry["protocol"] for entry in entries.values()})
    sources = sorted({entry["rows_from"] for entry in entries.values()})
    by = f"judge {', '.join(judges)}" if judges else "no judge, rules alone decide"
    said = f"Protocol {', '.join(protocols)}; {by}; rows: {', '.join(sources)}."
    return f"{said} {NOT_COMPARABLE}" if DEMO in sources else said


WIDE = 150
LEFT_OUT = {"protocol", "judge", *(COLUMNS[name] for name in ("onethinker", "grpo", "gdpo"))}
"""Columns that a narrow terminal leaves out; the page shows all."""
HEADER = (
    "benchmark",
    "score",
    "95 %",
    "chance",
    "parsed",
    "rows",
    "protocol",
    "judge",
    *COLUMNS.values(),
    "remarks",
)


def cells(line: Line) -> list[str]:
    """Return a row's cells as text."""
    paper = [line.points(line.paper[column]) for column in COLUMNS]
    entry = line.entry
    if entry is None:
        return [line.title, line.points(line.score), *[""] * 6, *paper, ""]
    return [
        line.title,
        line.points(line.score),
        f"{line.points(entry['low'])} - {line.points(entry['high'])}",
        "-" if entry["chance"] is None else line.points(entry["chance"]),
        f"{entry['parse_rate']:.0%}",
        str(entry["rows"]),
        entry["protocol"],
        entry["judge"] or "no",
        *paper,
        ", ".join(remarks(entry)),
    ]


def show(entries: Mapping[str, Entry], console: Console | None = None) -> None:
    """Print the table."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=PLAIN_WIDTH)
    shown = [i for i, name in enumerate(HEADER) if console.width >= WIDE or name not in LEFT_OUT]
    table = Table(
        *(HEADER[i] for i in shown),
        title="Benchmarks, beside the paper's scores",
        caption=caption(entries),
        box=box.SIMPLE,
    )
    for column in table.columns[1:-1]:
        column.justify = "right"
    table.columns[0].no_wrap = True
    for line in lines(entries):
        words = cells(line)
        table.add_row(
            *(words[i] for i in shown),
            style="bold" if line.entry is None else "",
            end_section=line.entry is None,
        )
    console.print(table)


def publish(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Print the table of a run and write it to `folder/eval`."""
    write_tables(folder / "eval", entries)
    console = Console(highlight=False)
    show(entries, console)
    console.print(f"table: {(folder / 'eval' / 'table.html').resolve()}", soft_wrap=True)


def write_tables(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write `folder/table.csv` and `folder/table.html`, each atomically."""
    write_whole(folder / "table.csv", csv_text(entries))
    write_whole(folder / "table.html", html_text(entries))


OF_ENTRY = (
    "low",
    "high",
    "chance",
    "parse_rate",
    "rows",
    "groups",
    "protocol",
    "prompted_as",
    "judge",
    "rows_by_judge",
    "rows_from",
    "limit",
    "rows_available",
    "rows_unusable",
    "rows_failed",
    "truncated_frac",
    "completion_tokens",
)


def csv_text(entries: Mapping[str, Entry]) -> str:
    """Return one line per benchmark and mean; all scores, also the paper's, are in [0, 1]."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["benchmark", "task", "score", *OF_ENTRY, *(f"paper_{column}" for column in COLUMNS)]
    )
    for line in lines(entries):
        entry = line.entry or {}
        own = [
            entry.get("task", ""),
            line.score,
            *("" if entry.get(name) is None else entry[name] for name in OF_ENTRY),
        ]
        writer.writerow(
            [
                line.name,
                *own,
                *("" if math.isnan(value) else round(value, 6) for value in line.paper.values()),
            ]
        )
    return file.getvalue()


def html_text(entries: Mapping[str, Entry]) -> str:
    """Return the page as one self-contained string, without scripts."""
    template = (files("g2rpo.benchmark.evaluation") / "table.html.j2").read_text(encoding="utf-8")
    found = [(line, cells(line)) for line in lines(entries)]
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    return page.render(header=HEADER, lines=found, caption=caption(entries))
