"""Chooses the task of the next prompt: weights become an interleaved order that does not depend on
the number of workers, ranks and resumes.
"""

import logging
from collections.abc import Iterable, Mapping

from g2rpo.data.skips import index_skips
from g2rpo.interfaces import PromptSource
from g2rpo.tasks import DEFAULT, checked_task, in_order, misspelled_tasks, similar_task

log = logging.getLogger("g2rpo")
ABSENT = ("error", "leave_out")
REASONS = 3
"""Number of reasons in the error if no record can be used."""


def listed_tasks(source: PromptSource, named: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the tasks that a source lists; of one that lists none, those that are `named`."""
    return tuple(getattr(source, "tasks", named))


def train_sizes(source: PromptSource, mix: "TaskMix") -> dict[str, int | None]:
    """Return the number of training prompts of each task that the mixture names or the data has.

    They are in the order of a run: as the mixture names them, then alphabetically.
    """
    listed = listed_tasks(source, mix.named)
    sizes = {
        task: source.size(task, "train") for task in in_order({*listed, *mix.named}, mix.named)
    }
    if mix.absent == "leave_out":  # a stream has rows without end of any task, also of no row
        sizes |= dict.fromkeys(set(mix.named).difference(listed), 0)
    return sizes


def mixture_of(source: PromptSource, mix: "TaskMix") -> "TaskMix":
    """Return the mixture for a source; tasks without a prompt are left out or refused.

    One log line says which tasks are trained on.

    Raises:
        ValueError: With the first reasons, if no record of the source can be used.
    """
    sizes = train_sizes(source, mix)
    if not sizes and not hasattr(source, "tasks"):
        raise ValueError(
            "task_mix: the data source does not list its tasks; name them in task_mix.weights"
        )
    if not any(size != 0 for size in sizes.values()):
        found = index_skips(source)
        count = sum(found["unusable"].values())
        if not count:
            raise ValueError("data: expected records, got none; is it the right file or split?")
        reasons = "".join(f"\n  {reason}" for reason in found["records"][:REASONS])
        raise ValueError(
            f"data: none of the {count} records can be used. Correct the records or data.format."
            f" The first reasons:{reasons}"
        )
    fitted = mix.present(sizes)
    _warn_of_spelling(mix, sizes)
    if None not in sizes.values():
        shares = ", ".join(
            f"{task} {fitted.shares[task]:.0%} ({sizes[task]} prompts)" for task in fitted.shares
        )
        absent = [task for task in mix.weights if task not in fitted.shares]
        if mix.default and len(absent) == len(mix.weights):
            absent = []  # data with other tasks altogether
        unused = [task for task, size in sizes.items() if size and task not in fitted.shares]
        log.info(
            "task_mix: %s%s%s",
            shares,
            f"; the data has no {', '.join(absent)}" if absent else "",
            f"; not trained on: {', '.join(unused)}" if unused else "",
        )
    return fitted


def _warn_of_spelling(mix: "TaskMix", sizes: Mapping[str, int | None]) -> None:
    """Warn of names, in the data or in the mixture, that look like misspellings of others."""
    for task, near in misspelled_tasks(sizes).items():
        log.warning(
            "data: task %r has %d training prompts and is spelled almost like %r, which has %d; if"
            " they are one task, correct the records",
            task,
            sizes[task],
            near,
            sizes[near],
        )
    others = [task for task, size in sizes.items() if size != 0 and task not in mix.named]
    for task, weight in mix.weights.items():
        near = similar_task(task, others) if sizes[task] == 0 and weight != mix.default else None
        if near is not None:
            log.warning(
                "task_mix.weights.%s: the data has no such task, but one that is spelled almost"
                " alike, %r, which gets the weight %g; correct the name or the records",
                task,
                near,
                mix.default,
            )


class TaskMix:
    """Draws tasks by weight: always the one that is furthest behind its share, so that every part
    of the stream is balanced.

    The only state is the number of draws per task.

    >>> mix = TaskMix(weights={"math": 2.0, "chart": 1.0})
    >>> counts: dict[str, int] = {}
    >>> [mix.draw(counts) for _ in range(6)]
    [('math', 0), ('chart', 0), ('math', 1), ('math', 2), ('chart', 1), ('math', 3)]

    Args:
        weights: Weight by task; 0 leaves a task out. `default` is the weight of all tasks of the
            data that are not named; without it they are left out.
        by_size: Whether weights are multiplied by the number of training prompts of the task; if
            so, call `sized`.
        temperature: Shares are proportional to weight ** (1 / temperature). Values above 1 make
            them more equal (10 is almost uniform), values below 1 less.
        absent: What to do if the data has no prompt of a weighted task: `error`, or `leave_out` to
            train on the others.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, float],
        by_size: bool = False,
        temperature: float = 1.0,
        absent: str = "error",
    ) -> None:
        for task, weight in weights.items():
            if task != DEFAULT:
                checked_task(task, "task_mix.weights")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"task_mix.weights.{task}: expected a weight >= 0, got {weight}")
        if not sum(weights.values()) > 0:
            raise ValueError(
                f"task_mix.weights: expected at least one positive weight, got {dict(weights)}; try"
                " task_mix=generalist"
            )
        if not 0 < temperature < float("inf"):
            raise ValueError(f"task_mix.temperature: expected a number above 0, got {temperature}")
        if absent not in ABSENT:
            raise ValueError(
                f"task_mix.absent: expected one of {', '.join(ABSENT)}, got {absent!r}"
            )
        self.absent = absent
        self.named = tuple(task for task in weights if task != DEFAULT)
        self.default = float(weights.get(DEFAULT, 0.0))
        self.weights = {task: float(weights[task]) for task in self.named if weights[task]}
        self.by_size = by_size
        self.temperature = temperature
        powers = {task: weight ** (1 / temperature) for task, weight in self.weights.items()}
        self.shares = {task: power / sum(powers.values()) for task, power in powers.items()}

    def present(self, sizes: Mapping[str, int | None]) -> "TaskMix":
        """Return the mixture without tasks that the source lacks, if `absent` allows.

        Args:
            sizes: Number of training prompts of each task; None if unlimited. Tasks that are not
                named get the weight `default`, in this order.

        Raises:
            ValueError: if the source has none of the tasks, or lacks one that must not be left out.
        """
        missing = [task for task in self.weights if sizes[task] == 0]
        had = [task for task in sizes if sizes[task] != 0]
        more = [task for task in had if self.default and task not in self.named]
        if not missing and not more and self.weights:
            return self
        if not self.weights and not more:
            raise ValueError(
                "task_mix.weights: expected at least one positive weight for a task of the data,"
                f" which has {', '.join(had)}"
            )
        if len(missing) == len(self.weights) and not more:
            raise ValueError(
                f"task_mix: expected prompts of {', '.join(self.weights)}, got a"
                f" data source with {', '.join(had) or 'none'} only; try task_mix=generalist, which"
                " takes every task that the data has"
            )
        if missing and self.absent == "error":
            near = similar_task(missing[0], [task for task in had if task not in self.named])
            advice = f"did you mean {near!r}? Otherwise " if near else ""
            raise ValueError(
                f"task_mix: the data source has no training prompt for {missing[0]!r}; {advice}set"
                f" task_mix.weights.{missing[0]}=0 or task_mix.absent=leave_out"
            )
        kept = {task: weight for task, weight in self.weights.items() if task not in missing}
        return TaskMix(
            weights=kept | dict.fromkeys(more, self.default),
            by_size=self.by_size,
            temperature=self.temperature,
            absent=self.absent,
        )

    def sized(self, sizes: Mapping[str, int | None]) -> "TaskMix":
        """Return the mixture with weights multiplied by sizes, if `by_size`.

        Raises `ValueError` for a task of unlimited size (None).
        """
        if not self.by_size:
            return self
        endless = [task for task in self.weights if sizes[task] is None]
        if endless:
            raise ValueError(
                f"task_mix.by_size: {', '.join(endless)} never run out in this data source; set"
                " task_mix.by_size=false"
            )
        scaled = {task: weight * (sizes[task] or 0) for task, weight in self.weights.items()}
        return TaskMix(weights=scaled, temperature=self.temperature)

    def draw(self, counts: dict[str, int]) -> tuple[str, int]:
        """Return the next task and the index of its prompt.

        `counts`, the number of draws so far per task, is updated in place.
        """
        turn = sum(counts.values()) + 1
        task = max(self.shares, key=lambda name: self.shares[name] * turn - counts.get(name, 0))
        index = counts.get(task, 0)
        counts[task] = index + 1
        return task, index
