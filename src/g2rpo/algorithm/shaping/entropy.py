"""Entropy shaping: keep each task's mean token entropy H inside a band (Hu et al. 2026, arXiv
2604.08539, eq. 10).

    penalty = weight * sum over tasks of  relu(H - high) + relu(low - H)          H in nats per token

H is a mean over the *whole* batch, so the side of the band it lies on, and hence the direction of
the gradient, is decided once per batch (`signs`) and only then applied to each micro-batch
(`loss`): a micro-batch that holds a few calm tokens of an agitated task is still pushed down. A
task that is absent adds nothing; in the released code it counted as H = 0 and added `low`.

`estimator` says what stands for H. `exact` is the entropy of the full next-token distribution, with
a gradient. `sampled_nll` is the mean of -logp of the sampled tokens, as in the release, and is here
for comparison only: on-policy its expected gradient is zero (E[grad log pi] = 0), so it cannot hold
a band (tests/algorithm/shaping/test_entropy_trained.py shows both at work).
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from g2rpo.records import TASKS, task_index

Estimator = Literal["exact", "sampled_nll"]


class EntropyBand:
    """A band of entropy per task: `low` and `high` are one number for all tasks, or numbers by
    task.

    A task that a mapping leaves out has no such side.
    """

    def __init__(
        self,
        *,
        low: float | Mapping[str, float],
        high: float | Mapping[str, float],
        weight: float,
        estimator: Estimator = "exact",
    ) -> None:
        if estimator not in get_args(Estimator):
            raise ValueError(
                f"shaping.entropy.estimator: expected one of {', '.join(get_args(Estimator))}, got"
                f" {estimator!r}"
            )
        if not 0 <= weight < float("inf"):
            raise ValueError(
                "shaping.entropy.weight: expected 0 or more (loss per nat outside the band), got"
                f" {weight}"
            )
        self.weight = weight
        self.estimator = estimator
        self.low = per_task(low, missing=0.0)
        self.high = per_task(high, missing=float("inf"))
        for task, low_bound, high_bound in zip(
            TASKS, self.low.tolist(), self.high.tolist(), strict=True
        ):
            if not 0 <= low_bound < high_bound:
                where = (
                    f" for {task}" if isinstance(low, Mapping) or isinstance(high, Mapping) else ""
                )
                raise ValueError(
                    "shaping.entropy: expected 0 <= low < high (nats per token), got"
                    f" low={low_bound:g}, high={high_bound:g}{where}"
                )

    def token_entropy(
        self, entropy: Float[Tensor, "b t"], logprobs: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """What `estimator` takes for the entropy of each token: the distribution's own, or -logp of
        the token that was drawn.
        """
        return entropy if self.estimator == "exact" else -logprobs

    def signs(
        self, entropy_sum: Float[Tensor, " k"], tokens: Shaped[Tensor, " k"]
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, ""]]:
        """Which way each task is pushed, from sums over the whole batch (all micro-batches, all
        ranks).

        Args:
            entropy_sum: token entropies added up per task, in the order of `TASKS` (see
                `task_sums`).
            tokens: how many tokens that were; 0 for an absent task.

        Returns:
            +1 above the band, -1 below, 0 inside or absent; and the penalty as it is logged, weight included, without gradient.
        """
        low, high = self.low.to(entropy_sum.device), self.high.to(entropy_sum.device)
        present = tokens > 0
        mean = entropy_sum.detach().double() / tokens.clamp(min=1)
        sign = torch.where(mean > high, 1.0, torch.where(mean < low, -1.0, 0.0)).where(present, 0.0)
        excess = (mean - high).clamp(min=0) + (low - mean).clamp(min=0)
        return sign.to(entropy_sum.dtype), self.weight * excess.where(present, 0.0).sum().to(
            entropy_sum.dtype
        )

    def loss(
        self,
        entropy: Float[Tensor, "b t"],
        mask: Shaped[Tensor, "b t"],
        tasks: Int[Tensor, " b"],
        signs: Float[Tensor, " k"],
        tokens: Shaped[Tensor, " k"],
    ) -> Float[Tensor, ""]:
        """The term to add to a micro-batch's loss. Over the micro-batches of a batch its gradients
        add up to the penalty's.

        Args:
            entropy: `token_entropy` of this micro-batch, with gradient.
            mask: True or 1 on completion tokens.
            tasks: positions in `TASKS`.
            signs: what `signs` returned.
            tokens: tokens per task in the batch whose gradient is accumulated.
        """
        entropy_sum, _ = task_sums(entropy, mask, tasks)
        return self.weight * (signs * entropy_sum / tokens.clamp(min=1)).sum()


def task_sums(
    entropy: Float[Tensor, "b t"], mask: Shaped[Tensor, "b t"], tasks: Int[Tensor, " b"]
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Entropies and numbers of tokens added up per task, in the order of `TASKS`: what
    micro-batches and ranks may add.
    """
    inside = mask.bool()
    rows = entropy.where(inside, 0.0).sum(1)
    counts = inside.sum(1).to(rows.dtype)
    start = rows.new_zeros(len(TASKS))
    return start.index_add(0, tasks, rows), start.index_add(0, tasks, counts)


def per_task(bound: float | Mapping[str, float], *, missing: float) -> Float[Tensor, " k"]:
    """A number for each of `TASKS`; unknown names are refused."""
    if not isinstance(bound, Mapping):
        return torch.full((len(TASKS),), float(bound), dtype=torch.float64)
    bounds = torch.full((len(TASKS),), missing, dtype=torch.float64)
    for task, value in bound.items():
        bounds[task_index(task)] = value
    return bounds
