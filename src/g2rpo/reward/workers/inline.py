"""Rewards in the trainer's process, for debugging and for rewards that cannot be pickled."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from g2rpo.interfaces import BatchReward, Reward
from g2rpo.launch import marks
from g2rpo.prompt import Failed, Prompt
from g2rpo.reward.workers.outcome import Outcome, outcome_of, outcomes_of, together


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
        singly: Judges those that the reward does not take in a batch; None judges them in this
            process, one after the other or group by group.
    """
    batch = (
        reward if isinstance(reward, BatchReward) else None
    )  # asked once: a Protocol takes long to answer
    batched = [
        row for row, prompt in enumerate(prompts) if batch is not None and batch.in_batch(prompt)
    ]
    taken = set(batched)
    alone = [row for row in range(len(prompts)) if row not in taken]
    texts, asked = [completions[row] for row in alone], [prompts[row] for row in alone]
    outcomes = _one_by_one(reward, texts, asked) if singly is None else singly(texts, asked)
    if batch is not None and batched:
        found = batch.score_all(
            [completions[row] for row in batched], [prompts[row] for row in batched]
        )
        outcomes += [
            outcome if isinstance(outcome, Failed) else outcome_of(partial(dict, outcome))
            for outcome in found
        ]
    by_row = dict(zip(alone + batched, outcomes, strict=True))
    return [by_row[row] for row in range(len(prompts))]


def _one_by_one(reward: Reward, texts: list[str], asked: list[Prompt]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for rows in together(reward, asked):
        marks.drop_if_asked()
        outcomes += outcomes_of(reward, [texts[row] for row in rows], asked[rows[0]])
    return outcomes
