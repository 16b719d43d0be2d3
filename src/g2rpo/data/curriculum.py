"""Which prompts rest, because their last group taught nothing: all of it was right, or all of it
wrong.
"""

from collections.abc import Mapping
from typing import Any


class EveryPrompt:
    """`curriculum=none`: every prompt is served once an epoch."""

    revisits = False

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """Always."""
        return True

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """Nothing to remember."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


class PassRate:
    """`curriculum=pass_rate`: a prompt rests for some epochs after a group that was (nearly) all
    right or all wrong.

    The online filter throws such groups away after they were generated; this saves generating them
    again soon.

    Args:
        low: A group of at most this mean accuracy was too hard.
        high: One of at least this was too easy.
        hard_epochs: Epochs that a prompt rests after being too hard; 0 asks it again in the next
            one.
        easy_epochs: The same after being too easy.
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
        """Per task, the epoch in which a resting prompt is asked again."""

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """False while a prompt rests."""
        return epoch >= self._back.get(task, {}).get(index, 0)

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """Sends a prompt to rest, or back to work."""
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
        """Who rests until when."""
        return {"back": {task: dict(resting) for task, resting in self._back.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self._back = {task: dict(resting) for task, resting in state["back"].items()}
