"""Which training completions the report shows; the run log keeps pictures of exactly these prompts.

A rule chooses them, so that the report cannot flatter: rollout batches 1, 2, 4, 8, ... and the
last one, and of each the first prompts of each task. Their number grows only with the logarithm
of the length of the run.
"""

from collections.abc import Sequence

from g2rpo.records import Prompt

PROMPTS_PER_TASK = 2


def is_shown(rollout_batch: int) -> bool:
    """Return whether a rollout batch, counted from 1, is shown even if it is not the last.

    >>> [batch for batch in range(1, 20) if is_shown(batch)]
    [1, 2, 4, 8, 16]
    """
    return rollout_batch & (rollout_batch - 1) == 0


def first_of_each_task(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the first `PROMPTS_PER_TASK` prompts of each task in a rollout batch."""
    by_task: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_task.setdefault(prompt.task, []).append(prompt)
    return [prompt for own in by_task.values() for prompt in own[:PROMPTS_PER_TASK]]
