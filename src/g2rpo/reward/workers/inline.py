"""Rewards in the trainer's process, for debugging and for rewards that cannot be pickled."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from g2rpo.interfaces import BatchReward, Reward
from g2rpo.prompt import Failed, Prompt
from g2rpo.reward.workers.outcome import Outcome, outcome_of


class Inline:
    """Run the reward in the trainer's process.

    A reward that hangs holds the run; one that ends its process ends the run.
    """

    def start(self, reward: Reward) -> AbstractContextManager[Reward]:
        """Return the reward unchanged."""
        return nullcontext(reward)


def score_each(
    reward: Reward,
    completions: Sequence[str],
    prompts: Sequence[Prompt],
    singly: Callable[[list[str], list[Prompt]], list[Outcome]] | None = None,
) -> list[Outcome]:
    """Return the outcome of each completion, in order.

    Args:
        prompts: One per completion.
        singly: Judges those that the reward does not take in a batch; one after the other in this
            process where None.
    """
    batch = (
        reward if isinstance(reward, BatchReward) else None
    )  # asked once: a Protocol takes long to answer
    together = [
        row for row, prompt in enumerate(prompts) if batch is not None and batch.in_batch(prompt)
    ]
    taken = set(together)
    alone = [row for row in range(len(prompts)) if row not in taken]
    texts, asked = [completions[row] for row in alone], [prompts[row] for row in alone]
    outcomes = (
        [outcome_of(partial(reward.score, *pair)) for pair in zip(texts, asked, strict=True)]
        if singly is None
        else singly(texts, asked)
    )
    if batch is not None and together:
        found = batch.score_all(
            [completions[row] for row in together], [prompts[row] for row in together]
        )
        outcomes += [
            outcome if isinstance(outcome, Failed) else outcome_of(partial(dict, outcome))
            for outcome in found
        ]
    by_row = dict(zip(alone + together, outcomes, strict=True))
    return [by_row[row] for row in range(len(prompts))]
