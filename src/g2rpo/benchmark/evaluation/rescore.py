"""Score existing predictions again, without weights and without a row source.

The source is only read; results are written to another folder.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from g2rpo.benchmark.evaluation.chance import chance
from g2rpo.benchmark.evaluation.metric import BenchmarkMetric
from g2rpo.benchmark.evaluation.predictions import PredictionFile, restored_row
from g2rpo.benchmark.evaluation.results import Entry, entry
from g2rpo.benchmark.evaluation.runner import Prediction, Scoring, row_counts, with_verdicts
from g2rpo.benchmark.evaluation.vlmevalkit import SUFFIXES, read_predictions
from g2rpo.files import write_whole
from g2rpo.interfaces import Benchmark

Find = Callable[[str], Benchmark]
Advance = Callable[[int], None]


def rescore(
    source: Path,
    names: Sequence[str],
    find: Find,
    scoring: Scoring,
    folder: Path,
    advance: Advance = lambda count: None,
) -> dict[str, Entry]:
    """Score saved predictions and write them to `folder/<benchmark>.jsonl`.

    Args:
        source: A run folder, its `eval` folder, or a prediction file: of VLMEvalKit
            (.xlsx, .tsv) or a sample log of lmms-eval (.jsonl).
        names: Benchmarks to score; empty for all that the folder holds. Exactly one for a file.
        find: Returns a benchmark by name.
        scoring: Protocol and judge.
        folder: Where results are written.
        advance: Called with 1 after every benchmark.

    Returns:
        The `benchmarks` entry of `summary.json`.

    Raises:
        ValueError: If the source has no predictions or a row cannot be read; names file and line.
    """
    if source.suffix.lower() in SUFFIXES:
        return _rescored_file(source, names, find, scoring, folder)
    home = source / "eval" if (source / "eval").is_dir() else source
    held = {path.stem: path for path in sorted(home.glob("*.jsonl"))}
    missing = [name for name in names if name not in held]
    if not held or missing:
        raise ValueError(
            "source: expected a run folder with eval/<benchmark>.jsonl or a prediction file"
            f" ({', '.join(SUFFIXES)}), got {source}"
            + (f"; there is none of {', '.join(missing)}, only: {', '.join(held)}" if held else "")
        )
    if home.resolve() == folder.resolve():
        raise ValueError(
            f"source={source} reads the folder that would be written; choose another one"
            " (hydra.run.dir=...)"
        )
    settings = home / "settings.json"
    asked = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    write_whole(
        folder / "settings.json", json.dumps({**asked, "rescore": str(source)}, indent=2) + "\n"
    )
    entries = {}
    for name in names or held:
        entries[name] = _rescored(
            find(name),
            PredictionFile(held[name]),
            scoring,
            folder,
            str(asked.get("eval.rows", source.name)),
        )
        advance(1)
    return entries


def _rescored(
    benchmark: Benchmark, file: PredictionFile, scoring: Scoring, folder: Path, rows_from: str
) -> Entry:
    predictions = file.read()
    lacking = [row["id"] for row in predictions if "row" not in row or "group" not in row]
    if lacking:
        raise ValueError(
            f"{file.path}: row {lacking[0]!r} has no row or group to be judged by; it was not"
            " written by evaluate.py"
        )
    rows = {prediction["id"]: restored_row(prediction["row"]) for prediction in predictions}
    return _scored(
        benchmark,
        predictions,
        rows,
        scoring,
        folder,
        rows_from,
        available=len(predictions),
        unusable=0,
    )


def _rescored_file(
    source: Path, names: Sequence[str], find: Find, scoring: Scoring, folder: Path
) -> dict[str, Entry]:
    if len(names) != 1:
        raise ValueError(
            f"source={source}: name the one benchmark it belongs to, as in"
            f" 'eval.benchmarks=[mmstar]'; got {list(names)}"
        )
    benchmark = find(names[0])
    read = read_predictions(source, benchmark)
    found = _scored(
        benchmark,
        read.predictions,
        read.rows,
        scoring,
        folder,
        source.name,
        available=len(read.predictions) + len(read.unusable),
        unusable=len(read.unusable),
    )
    return {names[0]: found}


def _scored(
    benchmark: Benchmark,
    predictions: Sequence[Prediction],
    rows: dict[str, dict[str, Any]],
    scoring: Scoring,
    folder: Path,
    rows_from: str,
    *,
    available: int,
    unusable: int,
) -> Entry:
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction["group"], []).append(prediction)
    metric = BenchmarkMetric(
        subscores=[
            sorted({name for one in group for name in one["subscores"]})
            for group in groups.values()
        ]
    )
    judged: list[Prediction] = []
    asked_rows = [[rows[one["id"]] for one in group] for group in groups.values()]
    for place, group in enumerate(groups.values()):
        own = with_verdicts(benchmark, asked_rows[place], group, scoring)
        metric.update(place, own[0]["group_score"], **row_counts(own))
        judged += own
    PredictionFile(folder / f"{benchmark.name}.jsonl").write(judged)
    asked = {str(one.get("prompted_as", scoring.protocol)) for one in predictions}
    return entry(
        benchmark,
        metric.compute() | {"chance": chance(benchmark, asked_rows, scoring.protocol)}
        if judged
        else {"rows": 0.0},
        scoring=scoring,
        rows_from=rows_from,
        limit=None,
        available=available,
        unusable=unusable,
        prompted_as=", ".join(sorted(asked)) or None,
    )
