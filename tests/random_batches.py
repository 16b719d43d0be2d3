"""Random rollout batches for comparisons with slow implementations, as plain Python numbers."""

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor

COUNT = 1000
Rows = dict[int, list[int]]


def random_batches(seed: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rewards, groups and tasks: groups of 1 to 6 rows, binary, graded or equal rewards."""
    rng = Random(seed)
    for _ in range(COUNT):
        rows = []
        for group in range(rng.randint(1, 6)):
            task = rng.choice([3, 8])
            draw = rng.choice(
                [lambda: float(rng.random() < 0.3), lambda: rng.randint(0, 4) / 4, lambda: 0.7]
            )
            rows += [(draw(), 50 - 9 * group, task) for _ in range(rng.randint(1, 6))]
        rng.shuffle(rows)
        rewards, groups, tasks = zip(*rows, strict=True)
        yield (
            torch.tensor(rewards, dtype=torch.float64),
            torch.tensor(groups),
            torch.tensor(tasks),
        )


def members(labels: Tensor) -> Rows:
    """Return the rows of each label."""
    found: Rows = {}
    for row, label in enumerate(labels.tolist()):
        found.setdefault(label, []).append(row)
    return found


def random_parts(rewards: Tensor, rng: Random) -> dict[str, Tensor]:
    """Return the rewards as one part, one that opposes them at times, and one that some lack."""
    opposed = [
        value * rng.choice([-1.0, 0.5]) + rng.randint(0, 1) / 4 for value in rewards.tolist()
    ]
    missing = [rng.choice([0.0, 1.0, float("nan")]) for _ in opposed]
    named = {"accuracy": rewards, "format": opposed, "length": missing}
    return {name: torch.as_tensor(values, dtype=torch.float64) for name, values in named.items()}
