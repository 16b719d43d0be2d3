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


FULL_TABLES = 100
"""Number of tables after which loggers get one only half as often, and half again as they double.
"""


def has_table(rollout_batch: int, every: int) -> bool:
    """Return whether loggers get completions and pictures of a rollout batch, counted from 1.

    The first has a table, and every `every`-th after it up to `FULL_TABLES` tables. From then on
    the interval doubles whenever the length of the run has doubled, so that a run of any length
    leaves few files.

    >>> tables = [batch for batch in range(1, 20001) if has_table(batch, 10)]
    >>> len(tables), tables[:3], tables[99:102]
    (313, [1, 11, 21], [991, 1001, 1021])
    """
    place, rest = divmod(rollout_batch - 1, every)
    spacing = 1
    while place > FULL_TABLES * spacing:
        spacing *= 2
    return rest == 0 and place % spacing == 0


def first_of_each_task(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the first `PROMPTS_PER_TASK` prompts of each task in a rollout batch."""
    by_task: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_task.setdefault(prompt.task, []).append(prompt)
    return [prompt for own in by_task.values() for prompt in own[:PROMPTS_PER_TASK]]
