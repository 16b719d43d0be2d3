"""What the run was expected to need, beside what it took."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from g2rpo.report.run_data import Run

COLUMNS = {
    "prefill": "time/prefill_s",
    "decode": "time/decode_s",
    "without gradients": "time/old_logprobs_s",
    "forward": "time/forward_s",
    "backward": "time/backward_s",
    "optimizer": "time/optimizer_s",
}
"""Stages of the estimate by their columns in metrics.csv."""


def estimate_rows(run: Run) -> list[list[str]]:
    """Return the rows of the table; none if the run made no estimate."""
    if run.estimate is None:
        return []
    peaks = run.column("time/peak_gib")[1]
    rows = [
        _row(
            "peak memory of a process, GiB",
            run.estimate.get("peak_gib"),
            max(peaks, default=math.nan),
        )
    ]
    stages: Mapping[str, Any] = run.estimate.get("stages_s") or {}
    rows += [
        _row(f"{name}, s", stages[name], _median(run, column))
        for name, column in COLUMNS.items()
        if stages.get(name)
    ]
    return [*rows, _row("step, s", run.estimate.get("step_s"), _median(run, "time/step_s"))]


def estimate_caption(run: Run) -> str:
    """Return what was estimated and how it was measured."""
    prompts: Mapping[str, Any] = (run.estimate or {}).get("prompt_tokens") or {}
    return (
        "Expected: computed before anything was loaded. It assumes that every completion has the "
        "maximum length, that prompts are drawn once per step, and that a prompt has at most "
        f"{prompts.get('longest', '?')} tokens ({prompts.get('known', 'unknown')}). Measured: the "
        "largest memory so far, which on a CPU is all resident memory of the process, and medians "
        "over all steps but the first."
    )


def _median(run: Run, column: str) -> float:
    """Return the median over the steps but the first, which warms up, if there are more."""
    values = run.column(column)[1]
    return statistics.median(values[1:] or values) if values else math.nan


def _row(name: str, estimated: float | None, measured: float) -> list[str]:
    expected = math.nan if estimated is None else float(estimated)
    ratio = expected / measured if measured else math.nan
    return [
        name,
        *(f"{value:.2f}" if math.isfinite(value) else "-" for value in (expected, measured, ratio)),
    ]
