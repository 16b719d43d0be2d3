"""The `benchmarks` entry of `summary.json`, and means over benchmarks."""

import math
from collections.abc import Mapping
from typing import Any

from g2rpo.benchmark.evaluation.runner import Scoring
from g2rpo.benchmark.evaluation.verdicts import judge_name
from g2rpo.benchmark.published import DEMO
from g2rpo.interfaces import Benchmark

Entry = dict[str, Any]


def entry(
    benchmark: Benchmark,
    numbers: Mapping[str, Any],
    *,
    scoring: Scoring,
    rows_from: str,
    limit: int | None,
    available: int,
    unusable: int,
    prompted_as: str | None = None,
) -> Entry:
    """Return the entry of one benchmark: its score and the conditions under which it was measured.

    `score` is in [0, 1], with its 95 % interval from `low` to `high`; see `chance.py`.

    Args:
        benchmark: The benchmark.
        numbers: The result of `BenchmarkMetric.compute`, and `chance`.
        scoring: Protocol and judge.
        rows_from: Name of the row source.
        limit: Maximum number of rows that were used; None for all.
        available: Number of records in the source.
        unusable: Number of records without a usable row.
        prompted_as: Protocol that made the prompts; None if it is the protocol of `scoring`.

    Raises:
        RuntimeError: If no row could be scored.
    """
    rows = numbers["rows"]
    if not rows:
        raise RuntimeError(
            f"{benchmark.name}: none of {available} rows could be scored; see the warnings above"
        )
    found: Entry = {"task": benchmark.task}
    found |= {name: numbers[name] for name in ("score", "low", "high", "chance")}
    found |= {
        "parse_rate": numbers["parsed"] / rows,
        "rows": int(rows),
        "groups": int(numbers["groups"]),
        "protocol": scoring.protocol,
        "prompted_as": prompted_as or scoring.protocol,
        "judge": judge_name(scoring.judge),
        "rows_by_judge": int(numbers["by_judge"]),
        "rows_from": rows_from,
        "limit": limit,
        "rows_available": available,
        "rows_unusable": unusable,
        "rows_failed": int(numbers["failed"]),
        "truncated_frac": numbers["truncated"] / rows,
        "completion_tokens": numbers["tokens"] / rows,
        "subscores": {
            name.removeprefix("sub/"): {
                "score": value,
                "groups": int(numbers[name.replace("sub/", "sub_groups/", 1)]),
            }
            for name, value in numbers.items()
            if name.startswith("sub/")
        },
    }
    return found | _beside_paper(benchmark, found["score"])


def _beside_paper(benchmark: Benchmark, score: float) -> Entry:
    """Return what the paper reports for the benchmark; empty if it reports nothing."""
    paper = getattr(benchmark, "published", None)
    if paper is None:
        return {}
    found: Entry = {}
    found["published"] = {
        "row": paper.row,
        "title": paper.title,
        "full": paper.full,
        "scores": paper.scores(),
    }
    return found | ({f"of_{paper.full}": round(score * paper.full, 1)} if paper.full != 100 else {})


def macro(entries: Mapping[str, Entry]) -> dict[str, float]:
    """Return means over benchmarks; empty without benchmarks.

    `macro` is the plain mean over all of them; every task has the mean over its own.
    """
    if not entries:
        return {}
    by_task: dict[str, list[float]] = {}
    for name in in_paper_order(entries):
        by_task.setdefault(entries[name]["task"], []).append(entries[name]["score"])
    scores = [found["score"] for found in entries.values()]
    return {"macro": math.fsum(scores) / len(scores)} | {
        task: math.fsum(own) / len(own) for task, own in by_task.items()
    }


def in_paper_order(entries: Mapping[str, Entry]) -> list[str]:
    """Return the names of benchmarks in the order of the paper's tables; others come last."""
    last = len(entries) + 1000
    return sorted(entries, key=lambda name: (entries[name].get("published") or {}).get("row", last))


def remarks(found: Entry) -> list[str]:
    """Return why a score is not simply the score of the whole benchmark."""
    said = []
    if found["rows_from"] == DEMO:
        said.append("demo rows")
    if found["limit"] is not None:
        said.append(f"limit {found['limit']}")
    if found["prompted_as"] != found["protocol"]:
        said.append(f"prompted as {found['prompted_as']}")
    said += [
        f"{found[key]} {word}"
        for key, word in {"rows_unusable": "unusable", "rows_failed": "failed"}.items()
        if found[key]
    ]
    if found["truncated_frac"] >= 0.005:
        said.append(f"{found['truncated_frac']:.0%} cut")
    return said
