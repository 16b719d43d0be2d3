"""The gym as a prompt source: endless, and determined by (seed, split, task, index)."""

from collections.abc import Callable, Sequence
from random import Random

from g2rpo.data.gym import scenes
from g2rpo.data.gym.problem import Problem
from g2rpo.records import Prompt

SPLITS = ("train", "heldout")
DRAW: dict[str, Callable[[Random, int], Problem]] = {
    "general_vqa": scenes.general_vqa,
    "math": scenes.math_on_things,
    "chart": scenes.chart,
    "spatial": scenes.spatial,
    "document": scenes.document,
    "grounding": scenes.grounding,
}
TASKS = tuple(DRAW)


class GymSource:
    """Draws prompts from (seed, split, task, index).

    The two splits use different random numbers, so their images can be equal only by chance.

    Args:
        seed: Seeds all prompts.
        levels: Difficulties (0 easy to 3 hard) from which that of a prompt is drawn.
    """

    tasks = TASKS

    def __init__(self, *, seed: int = 0, levels: Sequence[int] = (1, 1, 2)) -> None:
        if not levels or any(level not in (0, 1, 2, 3) for level in levels):
            raise ValueError(
                "data.levels: expected a list of difficulties out of 0, 1, 2, 3, got"
                f" {list(levels)}"
            )
        self.seed = seed
        self.levels = tuple(levels)

    def size(self, task: str, split: str) -> int | None:
        """Return None (unlimited), or 0 for a task that the gym does not draw.

        Raises `ValueError` for an unknown split.
        """
        if split not in SPLITS:
            raise ValueError(f"the gym draws {SPLITS}, asked for split={split!r}")
        return None if task in DRAW else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt of a task."""
        if self.size(task, split) == 0:
            raise IndexError(f"the gym draws {', '.join(TASKS)}, asked for task={task!r}")
        rng = Random(f"{self.seed}/{split}/{task}/{index}")  # noqa: S311
        level = rng.choice(self.levels)
        problem = DRAW[task](rng, level)
        return Prompt(
            id=f"gym/{split}/{task}/{index}",
            task=task,
            text=problem.text,
            images=(problem.image,),
            answer=problem.answer,
            answer_type=problem.answer_type,
            source="gym",
            meta={
                "level": level,
                "look": problem.look,
                "scene": problem.scene,
                "wrong": problem.wrong,
                "tolerance": problem.tolerance,
            },
        )
