"""Two protocols on the same predictions: their scores, and the rows on which they differ."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from g2rpo.benchmark.evaluation.predictions import PredictionFile
from g2rpo.benchmark.evaluation.results import Entry
from g2rpo.files import write_whole

DIFFERENCES = "differences.json"
_TOLERANCE = 1e-6


def differing_rows(first: Path, second: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a benchmark that two folders of predictions score differently.

    Each row has `benchmark`, `id`, `question`, `gold`, `prediction`, and by protocol `scores` and
    the `answers` that were read.
    """
    others = {row["id"]: row for row in PredictionFile(second / f"{name}.jsonl").read()}
    found = []
    for row in PredictionFile(first / f"{name}.jsonl").read():
        other = others.get(row["id"])
        if other is None or abs(row["score"] - other["score"]) <= _TOLERANCE:
            continue
        pair = (row, other)
        found.append(
            {
                "benchmark": name,
                "id": row["id"],
                "question": row["question"],
                "gold": row["gold"],
                "prediction": other["prediction"],
                "scores": {one["protocol"]: one["score"] for one in pair},
                "answers": {one["protocol"]: one["answer"] for one in pair},
            }
        )
    return found


def publish_differences(
    folder: Path,
    other_folder: Path,
    entries: Mapping[str, Entry],
    others: Mapping[str, Entry],
    console: Console | None = None,
) -> Path:
    """Print both protocols' scores and write `folder/differences.json`; return its path."""
    console = console or Console(highlight=False)
    table = Table(
        "benchmark", "rows", title="Two protocols on the same predictions", box=box.SIMPLE
    )
    first, second = next(iter(entries.values())), next(iter(others.values()))
    for heading in (first["protocol"], second["protocol"], "rows that differ"):
        table.add_column(heading, justify="right")
    rows = []
    for name, other in others.items():
        differing = differing_rows(folder, other_folder, name)
        rows += differing
        scores = [f"{100 * entry['score']:.1f}" for entry in (entries[name], other)]
        table.add_row(name, str(other["rows"]), *scores, str(len(differing)))
    path = folder / DIFFERENCES
    write_whole(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    console.print(table)
    console.print(f"rows that differ: {path.resolve()}", soft_wrap=True)
    return path
