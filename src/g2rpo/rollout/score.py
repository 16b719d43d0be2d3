"""Score completions with the reward; a failure costs its completion, not the run."""

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
    rows = [{} if isinstance(outcome, Failed) else outcome for outcome in outcomes]
    # These three parts exist even if every completion failed.
    names = sorted({"accuracy", "format", "structure"}.union(*rows) - {"total"})
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
    """Return the prompt's id, with file and line if it was read from a file."""
    return f"prompt {prompt.id!r}" + (
        f" ({prompt.meta['file']}, line {prompt.meta.get('line')})" if "file" in prompt.meta else ""
    )
