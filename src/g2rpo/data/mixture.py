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

    Args:
        weights: By task; 0, or no entry, leaves a task out.
        by_size: A weight counts for each training prompt of the task, so that a task with more prompts is drawn more often; `sized`
            must be called then.
        temperature: Shares are in proportion to weight ** (1 / temperature): 1 leaves them, larger ones make them more equal (10 is
            almost uniform), smaller ones less.
    """

    def __init__(self, *, weights: Mapping[str, float], by_size: bool = False, temperature: float = 1.0) -> None:
        for task, weight in weights.items():
            task_index(task)
            if not 0 <= weight < float("inf"):
                raise ValueError(f"task_mix.weights.{task}: expected a weight >= 0, got {weight}")
        if not sum(weights.values()) > 0:
            raise ValueError(f"task_mix.weights: expected at least one positive weight, got {dict(weights)}; try task_mix=generalist")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"task_mix.temperature: expected a number above 0, got {temperature}")
        self.weights = {task: float(weights[task]) for task in TASKS if weights.get(task)}
        self.by_size = by_size
        self.temperature = temperature
        powers = {task: weight ** (1 / temperature) for task, weight in self.weights.items()}
        self.shares = {task: power / sum(powers.values()) for task, power in powers.items()}

    def sized(self, sizes: Mapping[str, int | None]) -> "TaskMix":
        """The mixture for a source with so many training prompts of each task; itself, unless `by_size`.

        Raises `ValueError` for an endless task (None), which has no size to go by.
        """
        if not self.by_size:
            return self
        endless = [task for task in self.weights if sizes[task] is None]
        if endless:
            raise ValueError(f"task_mix.by_size: {', '.join(endless)} never run out in this data source; set task_mix.by_size=false")
        scaled = {task: weight * (sizes[task] or 0) for task, weight in self.weights.items()}
        return TaskMix(weights=scaled, temperature=self.temperature)

    def draw(self, counts: dict[str, int]) -> tuple[str, int]:
        """The next task and which of its prompts; `counts` (draws so far per task) is advanced in place."""
        turn = sum(counts.values()) + 1
        task = max(self.shares, key=lambda name: self.shares[name] * turn - counts.get(name, 0))
        index = counts.get(task, 0)
        counts[task] = index + 1
        return task, index
