"""Which task's turn it is: weights become an interleaved order, the same for any number of workers, ranks and resumes."""

from collections.abc import Mapping

from g2rpo.records import TASKS, task_index


class TaskMix:
    """Tasks by weight. At every turn the task that is furthest behind its share is drawn, so any stretch of the stream is balanced.

    The state is the number of draws per task, nothing else.

    >>> mix = TaskMix(weights={"math": 2.0, "chart": 1.0})
    >>> counts: dict[str, int] = {}
    >>> [mix.draw(counts) for _ in range(6)]
    [('math', 0), ('chart', 0), ('math', 1), ('math', 2), ('chart', 1), ('math', 3)]
    """

    def __init__(self, *, weights: Mapping[str, float]) -> None:
        for task, weight in weights.items():
            task_index(task)
            if not 0 <= weight < float("inf"):
                raise ValueError(f"task_mix.weights.{task}: expected a weight >= 0, got {weight}")
        total = sum(weights.values())
        if not total > 0:
            raise ValueError(f"task_mix.weights: expected at least one positive weight, got {dict(weights)}; try task_mix=generalist")
        self.shares = {task: weights[task] / total for task in TASKS if weights.get(task)}

    def draw(self, counts: dict[str, int]) -> tuple[str, int]:
        """The next task and which of its prompts; `counts` (draws so far per task) is advanced in place."""
        turn = sum(counts.values()) + 1
        task = max(self.shares, key=lambda name: self.shares[name] * turn - counts.get(name, 0))
        index = counts.get(task, 0)
        counts[task] = index + 1
        return task, index
