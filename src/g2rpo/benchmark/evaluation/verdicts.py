"""Completions to verdicts. What a benchmark raises for one completion costs that row its score, and
is counted; never the run.

A benchmark's protocol is written for answers, and some read a letter of the reasoning as one. So
what a policy thought is taken off first, for every protocol alike; the completion itself is kept.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from g2rpo.interfaces import Benchmark
from g2rpo.records import Judgment
from g2rpo.scoring.prediction import clean

log = logging.getLogger("g2rpo")
Judge = Callable[[str], str]
Row = Mapping[str, Any]


def judged(
    benchmark: Benchmark,
    rows: Sequence[Row],
    completions: Sequence[str],
    *,
    protocol: str,
    judge: Judge | None = None,
) -> list[dict[str, Any]]:
    """The verdict on each completion of rows that count together: one row, unless the benchmark
    groups them.

    Returns:
        Per row `score`, `group_score`, `parsed`, `answer`, `by`, `protocol`, `judge` (its name, or
        None) and `prediction` (the completion without thinking and tags, which is what was judged),
        and `error` where the benchmark or the judge failed: then the score is 0 and `by` is
        `failed`.
    """
    named = {"protocol": protocol, "judge": judge_name(judge)}
    texts = [clean(completion) for completion in completions]
    verdicts = [
        _verdict(benchmark, row, text, protocol, judge) | named | {"prediction": text}
        for row, text in zip(rows, texts, strict=True)
    ]
    group_score = verdicts[0]["score"]
    if len(rows) > 1:
        group_score = _group_score(benchmark, rows, texts, verdicts, protocol, judge)
    return [verdict | {"group_score": group_score} for verdict in verdicts]


def judge_name(judge: Judge | None) -> str | None:
    """What the results call a judge: its `name`, or its type's."""
    return (
        None
        if judge is None
        else str(getattr(judge, "name", getattr(judge, "__name__", type(judge).__name__)))
    )


def _verdict(
    benchmark: Benchmark, row: Row, completion: str, protocol: str, judge: Judge | None
) -> dict[str, Any]:
    try:
        found = benchmark.judgment(completion, row, protocol=protocol, judge=judge)
        if not 0 <= found.score <= 1:
            raise ValueError(f"expected a score in [0, 1], got {found.score}")
    except Exception as error:  # noqa: BLE001  plug-in code on model text, or a judge's server: counted, bounded by the caller, and shown
        log.warning(
            "%s, row %s could not be judged and counts 0: %s: %s",
            benchmark.name,
            row.get("id"),
            type(error).__name__,
            error,
        )
        failed = Judgment(score=0.0, parsed=False, by="failed")
        return _fields(failed) | {"error": f"{type(error).__name__}: {error}"}
    return _fields(found)


def _fields(judgment: Judgment) -> dict[str, Any]:
    return {
        "score": float(judgment.score),
        "parsed": judgment.parsed,
        "answer": judgment.answer,
        "by": judgment.by,
    }


def _group_score(
    benchmark: Benchmark,
    rows: Sequence[Row],
    completions: Sequence[str],
    verdicts: Sequence[dict[str, Any]],
    protocol: str,
    judge: Judge | None,
) -> float:
    """A group with a failed row scores 0."""
    if any(verdict["by"] == "failed" for verdict in verdicts):
        return 0.0
    score = float(benchmark.score_group(completions, rows, protocol=protocol))
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise ValueError(
            f"{benchmark.name}: expected a group score in [0, 1], got {score} for rows"
            f" {[row.get('id') for row in rows]}"
        )
    return score
