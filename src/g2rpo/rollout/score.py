"""Completions to rewards, failures counted. What a reward raises for one completion costs that completion, not the run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from g2rpo.interfaces import Reward
from g2rpo.records import Prompt, Rollouts, Scores
from g2rpo.stopwatch import stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Scores of a rollout batch, and which completions could not be judged (they count 0)."""

    scores: Scores
    failed: Bool[Tensor, " b"]


@stage("reward")
def score_rollouts(reward: Reward, prompts: Sequence[Prompt], rollouts: Rollouts, failure_budget: float) -> Scored:
    """Judges every completion.

    Raises:
        RuntimeError: naming the first failing record, when more than `failure_budget` of the completions cannot be judged.
    """
    rows: list[dict[str, float]] = []
    errors: dict[int, str] = {}
    for row, (owner, text) in enumerate(zip(rollouts.prompt.tolist(), rollouts.texts, strict=True)):
        try:
            rows.append(_finite(reward.score(text, prompts[owner])))
        except Exception as error:  # noqa: BLE001  plug-in code on model text: counted, bounded by the budget, and shown
            errors[row] = f"prompt {prompts[owner].id!r}: {type(error).__name__}: {error}; completion {text[:200]!r}"
            rows.append({})
    if len(errors) > failure_budget * len(rows):
        raise RuntimeError(
            f"reward: {len(errors)} of {len(rows)} completions could not be judged, more than reward_failures={failure_budget:g} allows. "
            f"First: {next(iter(errors.values()))}"
        )
    names = sorted({"accuracy", "format", "structure"}.union(*rows) - {"total"})  # there even if nothing could be judged
    device = rollouts.old_logprobs.device
    failed = torch.tensor([row in errors for row in range(len(rows))], device=device)
    parts = {name: torch.tensor([row.get(name, 0.0) for row in rows], device=device) for name in names}
    return Scored(scores=Scores(total=torch.tensor([row.get("total", 0.0) for row in rows], device=device), parts=parts), failed=failed)


def _finite(row: dict[str, float]) -> dict[str, float]:
    for name in ("accuracy", "format", "total"):
        if name not in row:
            raise ValueError(f"reward returned {sorted(row)}, expected accuracy, format, structure and total")
    for name, value in row.items():
        if not math.isfinite(value):
            raise ValueError(f"reward returned {name}={value}, expected a finite number")
    return row
