"""Rewards in the trainer's process: for debugging, and for rewards that cannot be sent to another one."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from g2rpo.interfaces import BatchReward, Reward
from g2rpo.records import Failed, Prompt

Outcome = dict[str, float] | Failed


class Inline:
    """Nothing is isolated: a reward that never returns holds the run, one that ends its process ends the run."""

    def start(self, reward: Reward) -> AbstractContextManager[Reward]:
        """The reward as it is."""
        return nullcontext(reward)


def score_each(
    reward: Reward,
    completions: Sequence[str],
    prompts: Sequence[Prompt],
    singly: Callable[[list[str], list[Prompt]], list[Outcome]] | None = None,
) -> list[Outcome]:
    """What the reward says of each completion, in their order.

    Args:
        prompts: One per completion.
        singly: Judges those that the reward does not take in a batch; one after the other in this process where None.
    """
    batch = reward if isinstance(reward, BatchReward) else None  # asked once: a Protocol takes long to answer
    together = [row for row, prompt in enumerate(prompts) if batch is not None and batch.in_batch(prompt)]
    taken = set(together)
    alone = [row for row in range(len(prompts)) if row not in taken]
    texts, asked = [completions[row] for row in alone], [prompts[row] for row in alone]
    outcomes = [score_one(reward, *pair) for pair in zip(texts, asked, strict=True)] if singly is None else singly(texts, asked)
    if batch is not None and together:
        found = batch.score_all([completions[row] for row in together], [prompts[row] for row in together])
        outcomes += [outcome if isinstance(outcome, Failed) else _guarded(lambda row=outcome: row) for outcome in found]
    by_row = dict(zip(alone + together, outcomes, strict=True))
    return [by_row[row] for row in range(len(prompts))]


def score_one(reward: Reward, completion: str, prompt: Prompt) -> Outcome:
    """What the reward says of one completion, or what it raised."""
    return _guarded(lambda: reward.score(completion, prompt))


def _guarded(judge: Callable[[], dict[str, float]]) -> Outcome:
    try:
        return _finite(judge())
    except Exception as error:  # noqa: BLE001  plug-in code on model text: counted, bounded by the budget, and shown
        return Failed(reason=f"{type(error).__name__}: {error}")


def _finite(row: dict[str, float]) -> dict[str, float]:
    for name in ("accuracy", "format", "total"):
        if name not in row:
            raise ValueError(f"reward returned {sorted(row)}, expected accuracy, format, structure and total")
    for name, value in row.items():
        if not math.isfinite(value):
            raise ValueError(f"reward returned {name}={value}, expected a finite number")
    return {name: float(value) for name, value in row.items()}
