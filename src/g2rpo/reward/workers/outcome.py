"""Outcomes of judging completions: numbers, or failures. Workers import this without torch."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from g2rpo.prompt import Failed, Prompt, accuracy_in

Outcome = dict[str, float] | Failed


def outcome_of(judge: Callable[[], dict[str, float]]) -> Outcome:
    """Return the row of finite numbers that `judge` returns, or the failure."""
    try:
        return _finite(judge())
    except Exception as error:  # noqa: BLE001  plug-in code on model text: counted, bounded by the budget, and shown
        return Failed(reason=f"{type(error).__name__}: {error}")


def together(reward: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Return the rows that one call judges: those of a prompt for a `GroupReward`, else single."""
    if not getattr(reward, "in_groups", False):
        return [[row] for row in range(len(prompts))]
    numbered = groupby(enumerate(prompts), key=lambda pair: id(pair[1]))
    return [[row for row, _ in group] for _, group in numbered]


def outcomes_of(reward: Any, completions: Sequence[str], prompt: Prompt) -> list[Outcome]:
    """Return the outcomes of completions of a prompt, judged together by a `GroupReward`."""
    if not getattr(reward, "in_groups", False):
        return [outcome_of(partial(reward.score, text, prompt)) for text in completions]
    try:
        found = list(reward.score_group(completions, prompt))
        if len(found) != len(completions):
            raise ValueError(
                f"reward returned {len(found)} outcomes for {len(completions)} completions"
            )
    except Exception as error:  # noqa: BLE001  as above; which completion is to blame is not known
        return [Failed(reason=f"{type(error).__name__}: {error}")] * len(completions)
    return [
        outcome if isinstance(outcome, Failed) else outcome_of(partial(dict, outcome))
        for outcome in found
    ]


def _finite(row: dict[str, float]) -> dict[str, float]:
    try:
        row["total"], accuracy_in(row)
    except KeyError:
        raise ValueError(
            f"reward returned {sorted(row)}, expected accuracy, total, and its other parts"
        ) from None
    for name, value in row.items():
        if not math.isfinite(value):
            raise ValueError(f"reward returned {name}={value}, expected a finite number")
    return {name: float(value) for name, value in row.items()}
