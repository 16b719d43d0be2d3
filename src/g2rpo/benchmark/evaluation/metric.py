"""A benchmark's score, sub-scores, parse rate and confidence interval, from its scored rows.

Rows that only count together form one group, and a group counts once. All states are sums indexed
by the group's place in the plan, which every rank knows. So any number of ranks, in any order,
gives exactly the same numbers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

RESAMPLES = 1000
LEVEL = 0.95


class BenchmarkMetric(Metric):
    """Scores of the groups of one benchmark.

    Args:
        subscores: Names of the sub-scores that each planned group counts for.
        seed: Seeds the bootstrap.
    """

    full_state_update = False
    higher_is_better = True
    scores: Tensor
    seen: Tensor
    rows: Tensor

    def __init__(self, *, subscores: Sequence[Sequence[str]], seed: int = 0) -> None:
        super().__init__()
        self.names = sorted({name for names in subscores for name in names})
        place = {name: i for i, name in enumerate(self.names)}
        self.membership = torch.zeros(len(self.names), len(subscores), dtype=torch.double)
        for group, names in enumerate(subscores):
            self.membership[[place[name] for name in names], group] = 1.0
        self.seed = seed
        self.add_state(
            "scores", torch.zeros(len(subscores), dtype=torch.double), dist_reduce_fx="sum"
        )
        self.add_state(
            "seen", torch.zeros(len(subscores), dtype=torch.double), dist_reduce_fx="sum"
        )
        self.add_state("rows", torch.zeros(len(COUNTS), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, place: int, score: float, **counts: float) -> None:
        """Add a whole group.

        Args:
            place: Position of the group in the plan.
            score: Score of the group, in [0, 1].
            **counts: The numbers named in `COUNTS`, summed over the rows of the group.
        """
        self.scores[place] += score
        self.seen[place] += 1
        self.rows += torch.tensor([float(counts[name]) for name in COUNTS], dtype=torch.double)

    def compute(self) -> dict[str, float]:
        """Return the numbers of the benchmark; scores are NaN without rows.

        Returns:
            `score` with its interval `low` and `high`, `groups`, the sums of `COUNTS`, and for each
            sub-score `sub/<name>` and `sub_groups/<name>`.
        """
        # Every rank computes this from the same sums.
        seen, scores = self.seen.cpu(), self.scores.cpu()
        low, high = bootstrap_interval(scores[seen > 0], seed=self.seed)
        groups, sums = self.membership @ seen, self.membership @ scores
        found = {
            "score": _ratio(scores.sum(), seen.sum()),
            "low": low,
            "high": high,
            "groups": seen.sum().item(),
        }
        found |= dict(zip(COUNTS, self.rows.tolist(), strict=True))
        found |= {
            f"sub/{name}": _ratio(total, count)
            for name, total, count in zip(self.names, sums, groups, strict=True)
            if count
        }
        return found | {
            f"sub_groups/{name}": count.item()
            for name, count in zip(self.names, groups, strict=True)
            if count
        }


COUNTS = ("rows", "parsed", "failed", "by_judge", "truncated", "tokens")
"""Numbers that are summed over rows."""


def bootstrap_interval(
    scores: Float[Tensor, " n"], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over groups; NaN without groups.

    >>> bootstrap_interval(torch.ones(7))
    (1.0, 1.0)
    """
    if not len(scores):
        return float("nan"), float("nan")
    # Scores take few distinct values, so one multinomial draw of their counts replaces n draws.
    values, counts = np.unique(scores.double().numpy(), return_counts=True)
    rng = np.random.default_rng(seed)
    means = (
        rng.multinomial(len(scores), counts / len(scores), size=resamples) @ values / len(scores)
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return min(max(float(low), 0.0), 1.0), min(max(float(high), 0.0), 1.0)


def _ratio(total: Tensor, count: Tensor) -> float:
    return (total / count).item() if count else float("nan")
