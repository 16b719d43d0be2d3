"""Completions to rewards, failures counted. What a reward raises for one completion costs that
completion, not the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from g2rpo.interfaces import Reward
from g2rpo.records import Failed, Prompt, Rollouts, Scores
from g2rpo.reward.workers.inline import score_each
from g2rpo.stopwatch import timed


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Scores of a rollout batch, and which completions could not be judged (they count 0)."""

    scores: Scores
    failed: Bool[Tensor, " b"]


@timed("reward")
def score_rollouts(
    reward: Reward, prompts: Sequence[Prompt], rollouts: Rollouts, failure_budget: float
) -> Scored:
    """Judges every completion.

    Raises:
        RuntimeError: naming the first failing record, when more than `failure_budget` of the
            completions cannot be judged.
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
    rows = [{} if isinstance(outcome, Failed) else outcome for outcome in outcomes]
    names = sorted(
        {"accuracy", "format", "structure"}.union(*rows) - {"total"}
    )  # there even if nothing could be judged
    device = rollouts.old_logprobs.device
    failed = torch.tensor([isinstance(outcome, Failed) for outcome in outcomes], device=device)
    parts = {
        name: torch.tensor([row.get(name, 0.0) for row in rows], device=device) for name in names
    }
    return Scored(
        scores=Scores(
            total=torch.tensor([row.get("total", 0.0) for row in rows], device=device), parts=parts
        ),
        failed=failed,
    )


def _named(prompt: Prompt) -> str:
    """A prompt's id, and the place in a file that it came from."""
    return f"prompt {prompt.id!r}" + (
        f" ({prompt.meta['file']}, line {prompt.meta.get('line')})" if "file" in prompt.meta else ""
    )
