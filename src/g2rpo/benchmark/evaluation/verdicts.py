"""Scores of completions; if scoring one raises, that row scores 0 and is counted.

A benchmark's protocol is written for answers, and some would read a letter in the reasoning as the
answer. So the reasoning is removed first; the prediction file keeps it. Protocols that take the
answer out of the whole completion by rules of their own say so in `reads_thinking`.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from g2rpo.benchmark.base import Judge
from g2rpo.interfaces import Benchmark
from g2rpo.records import Judgment
from g2rpo.scoring.extract import clean

log = logging.getLogger("g2rpo")
Row = Mapping[str, Any]


def judged(
    benchmark: Benchmark,
    rows: Sequence[Row],
    completions: Sequence[str],
    *,
    protocol: str,
    judge: Judge | None = None,
) -> list[dict[str, Any]]:
    """Score the completions of rows that count together; usually that is one row.

    Returns:
        For each row `score`, `group_score`, `parsed`, `answer`, `by`, `protocol`, `judge` (its
        name,
        or None) and `prediction` (the scored text: the completion without reasoning and tags). If
        the
        benchmark or the judge failed, the score is 0, `by` is `failed`, and `error` says why.
    """
    named = {"protocol": protocol, "judge": judge_name(judge)}
    whole = protocol in getattr(benchmark, "reads_thinking", ())
    texts = [completion if whole else clean(completion) for completion in completions]
    # A group asks again what its rows have asked; a judge answers each prompt once.
    judge = cache(judge) if judge is not None and len(rows) > 1 else judge
    verdicts = [
        _verdict(benchmark, row, text, protocol, judge) | named | {"prediction": text}
        for row, text in zip(rows, texts, strict=True)
    ]
    group_score = verdicts[0]["score"]
    if len(rows) > 1:
        group_score = _group_score(benchmark, rows, texts, verdicts, protocol, judge)
    return [verdict | {"group_score": group_score} for verdict in verdicts]


def judge_name(judge: Judge | None) -> str | None:
    """Return the name of a judge in the results: its `name`, or the name of its type."""
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
    except Exception as error:  # noqa: BLE001  plug-in or judge; counted and shown
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
    """Return the score of a group; a group with a failed row scores 0."""
    if any(verdict["by"] == "failed" for verdict in verdicts):
        return 0.0
    score = float(benchmark.score_group(completions, rows, protocol=protocol, judge=judge))
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise ValueError(
            f"{benchmark.name}: expected a group score in [0, 1], got {score} for rows"
            f" {[row.get('id') for row in rows]}"
        )
    return score
