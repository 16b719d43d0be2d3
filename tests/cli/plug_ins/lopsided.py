"""Data and a reward for three ranks: rank 1 keeps no group, and rank 2 has no images.

Every rank writes what it judged to the working directory, `judged<rank>`: a line for each
completion with the number of images of its prompt; and a line in `learned<rank>` for each loss.
"""

import dataclasses
from pathlib import Path

from g2rpo import ranks
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.data.gym.source import GymSource
from g2rpo.records import Prompt


def note(what: str, line: object) -> None:
    with Path(f"{what}{ranks.rank()}").open("a") as file:
        file.write(f"{line}\n")


class NoImagesOnRank2(GymSource):
    """The gym, whose images are missing on rank 2."""

    def get(self, task: str, index: int, split: str) -> Prompt:
        prompt = super().get(task, index, split)
        return dataclasses.replace(prompt, images=()) if ranks.rank() == 2 else prompt


class NoSignalOnRank1:
    """A reward that is right for every second completion, and on rank 1 for none."""

    def __init__(self) -> None:
        self.right = False

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        note("judged", len(prompt.images))
        self.right = not self.right
        accuracy = float(self.right and ranks.rank() != 1)
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


class Noted(ClipLoss):
    """A loss that is written down."""

    def __call__(self, *args, **options):
        value, stats = super().__call__(*args, **options)
        note("learned", float(value))
        return value, stats
