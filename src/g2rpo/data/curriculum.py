"""Curricula: skip prompts whose last group was all right or all wrong and so taught nothing."""

from collections.abc import Mapping
from typing import Any


class PassRate:
    """`curriculum=pass_rate`: skip a prompt for some epochs after an extreme group.

    A group is extreme if (nearly) all of it was right or wrong. The online filter drops such groups
    after they were generated; skipping the prompt saves generating them again soon.

    Args:
        low: A prompt is too hard if the mean accuracy of its group is at most this.
        high: A prompt is too easy if the mean accuracy of its group is at least this.
        hard_epochs: Epochs for which a prompt is skipped after being too hard; 0 skips none.
        easy_epochs: Epochs for which a prompt is skipped after being too easy.
    """

    revisits = True

    def __init__(
        self, *, low: float = 0.01, high: float = 0.99, hard_epochs: int = 1, easy_epochs: int = 2
    ) -> None:
        if not 0 <= low < high <= 1:
            raise ValueError(
                "curriculum: expected 0 <= low < high <= 1 (mean accuracy of a group), got"
                f" low={low}, high={high}"
            )
        for name, value in (("hard_epochs", hard_epochs), ("easy_epochs", easy_epochs)):
            if value < 0:
                raise ValueError(f"curriculum.{name}: expected 0 or more, got {value}")
        self.low = low
        self.high = high
        self.hard_epochs = hard_epochs
        self.easy_epochs = easy_epochs
        self._back: dict[str, dict[int, int]] = {}
        """By task and index, the epoch in which a skipped prompt is served again."""

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """Return False while a prompt is skipped."""
        return epoch >= self._back.get(task, {}).get(index, 0)

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """Skip a prompt from now on, or serve it again, depending on its accuracy."""
        rest = (
            self.hard_epochs
            if accuracy <= self.low
            else self.easy_epochs
            if accuracy >= self.high
            else 0
        )
        resting = self._back.setdefault(task, {})
        if rest:
            resting[index] = epoch + 1 + rest
        else:
            resting.pop(index, None)

    def state_dict(self) -> dict[str, Any]:
        """Return which prompts are skipped until which epoch."""
        return {"back": {task: dict(resting) for task, resting in self._back.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._back = {task: dict(resting) for task, resting in state["back"].items()}
