"""Outcome of judging one completion: numbers, or a failure."""

import math
from collections.abc import Callable

from g2rpo.prompt import Failed

Outcome = dict[str, float] | Failed


def outcome_of(judge: Callable[[], dict[str, float]]) -> Outcome:
    """Return the row of finite numbers that `judge` returns, or the failure."""
    try:
        return _finite(judge())
    except Exception as error:  # noqa: BLE001  plug-in code on model text: counted, bounded by the budget, and shown
        return Failed(reason=f"{type(error).__name__}: {error}")


def _finite(row: dict[str, float]) -> dict[str, float]:
    for name in ("accuracy", "format", "total"):
        if name not in row:
            raise ValueError(
                f"reward returned {sorted(row)}, expected accuracy, format, structure and total"
            )
    for name, value in row.items():
        if not math.isfinite(value):
            raise ValueError(f"reward returned {name}={value}, expected a finite number")
    return {name: float(value) for name, value in row.items()}
