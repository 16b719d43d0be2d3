"""Score completions with the reward; a failure costs its completion, not the run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from g2rpo.interfaces import Reward
from g2rpo.records import LOGGED, Failed, Prompt, Rollouts, Scores
from g2rpo.reward.workers.inline import score_each
from g2rpo.stopwatch import timed


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Scores of a rollout batch, and which completions could not be judged (their scores are 0)."""

    scores: Scores
    failed: Bool[Tensor, " b"]


@timed("reward")
def score_rollouts(
    reward: Reward, prompts: Sequence[Prompt], rollouts: Rollouts, failure_budget: float
) -> Scored:
    """Score every completion.

    Args:
        reward: Reward that scores a completion.
        prompts: Prompts of the batch.
        rollouts: Their completions.
        failure_budget: Maximum share of completions that may fail, in [0, 1].

    Raises:
        RuntimeError: More completions failed; the message names the first failing record.
    """
    asked = [prompts[owner] for owner in rollouts.prompt.tolist()]
    outcomes = score_each(reward, rollouts.texts, asked)
    failures = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, Failed)]
    if len(failures) > failure_budget * len(outcomes):
        first = failures[0]
        raise RuntimeError(
            f"reward: {len(failures)} of {len(outcomes)} completions could not be judged, more than"
            f" reward_failures={failure_budget:g} allows. First: {_named(asked[first])}:"
            f" {outcomes[first].reason}; completion {rollouts.texts[first][:200]!r}"
        )
    device = rollouts.old_logprobs.device
    failed = torch.tensor([isinstance(outcome, Failed) for outcome in outcomes], device=device)
    columns = {
        name: torch.tensor(values, device=device) for name, values in _columns(outcomes, asked)
    }
    total = columns.pop("total")
    return Scored(scores=Scores(total=total, parts=columns), failed=failed)


def _columns(
    outcomes: Sequence[dict[str, float] | Failed], prompts: Sequence[Prompt]
) -> list[tuple[str, list[float]]]:
    """Return total and parts by name.

    A failed completion gets 0 in the parts that others of its task have, or in accuracy at least. A
    part that a completion lacks is NaN.
    """
    of_task: dict[str, set[str]] = {}
    for outcome, prompt in zip(outcomes, prompts, strict=True):
        own = set() if isinstance(outcome, Failed) else outcome.keys()
        of_task.setdefault(prompt.task, {"total"}).update(own)
    for own in of_task.values():
        if not own & {"accuracy", LOGGED + "accuracy"}:
            own.add("accuracy")
    rows = [
        dict.fromkeys(of_task[prompt.task], 0.0) if isinstance(outcome, Failed) else outcome
        for outcome, prompt in zip(outcomes, prompts, strict=True)
    ]
    names = sorted(set().union(*of_task.values()))
    return [(name, [row.get(name, math.nan) for row in rows]) for name in names]


def _named(prompt: Prompt) -> str:
    """Return the prompt's id, with file and line if it was read from a file."""
    return f"prompt {prompt.id!r}" + (
        f" ({prompt.meta['file']}, line {prompt.meta.get('line')})" if "file" in prompt.meta else ""
    )
