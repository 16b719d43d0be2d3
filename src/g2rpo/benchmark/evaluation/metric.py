"""A benchmark's score, sub-scores, parse rate and confidence interval, from its scored rows.

Rows that only count together form one group, and a group counts once. All states are sums indexed
by the group's place in the plan, which every rank knows. So any number of ranks, in any order,
gives exactly the same numbers.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

RESAMPLES = 1000
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


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
        low, high = score_interval(scores[seen > 0], seed=self.seed)
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


def score_interval(scores: Float[Tensor, " n"], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean over groups; NaN without groups.

    Scores of 0 and 1 get Wilson's interval, all others the bootstrap's.

    >>> low, high = score_interval(torch.ones(20))
    >>> round(low, 3), high
    (0.8, 1.0)
    """
    if not len(scores):
        return float("nan"), float("nan")
    right = scores.sum().item()
    if bool(((scores == 0) | (scores == 1)).all()):
        return wilson_interval(round(right), len(scores))
    return bootstrap_interval(scores, seed=seed)


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, with continuity correction.

    Newcombe 1998, Two-sided confidence intervals for the single proportion, method 4. Without the
    correction, 10 answers cover a share of 0.99 only 90 % of the time.

    >>> low, high = wilson_interval(0, 10)
    >>> low, round(high, 4)
    (0.0, 0.3445)
    """

    def lowest(hits: int) -> float:
        if not hits:
            return 0.0
        root = Z * Z - 1 / count + 4 * hits * (1 - hits / count) + 4 * hits / count - 2
        return max(0.0, (2 * hits + Z * Z - Z * math.sqrt(root) - 1) / (2 * (count + Z * Z)))

    return lowest(right), 1.0 - lowest(count - right)


def bootstrap_interval(
    scores: Float[Tensor, " n"], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of scores in [0, 1].

    One score of 0 and one of 1 are added to the sample. Otherwise a sample that happens to hold no
    failure has an interval that is far too short.
    """
    # Scores take few distinct values, so one multinomial draw of their counts replaces n draws.
    sample = np.append(scores.double().numpy(), (0.0, 1.0))
    values, counts = np.unique(sample, return_counts=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sample), counts / len(sample), size=resamples)
    means = draws @ values / len(sample)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = scores.double().mean().item()
    return max(min(float(low), mean), 0.0), min(max(float(high), mean), 1.0)


def _ratio(total: Tensor, count: Tensor) -> float:
    return (total / count).item() if count else float("nan")
