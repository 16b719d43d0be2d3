"""Entropy shaping: a penalty that keeps the mean token entropy H of each task inside a band.

    penalty = weight * sum over tasks of (relu(H - high) + relu(low - H))      H in nats per token

(Hu et al. 2026, arXiv 2604.08539, eq. 10.) H is a mean over the *whole* batch. `signs` decides once
per batch on which side of its band each task lies, and `loss` applies these signs to every
micro-batch, even if the micro-batch's own mean lies on the other side. A task without tokens adds
nothing; in the released code it counted as H = 0 and added `low`.

`estimator` selects H. `exact` is the entropy of the full next-token distribution. `sampled_nll`,
the mean -logp of the sampled tokens as in the release, is for comparison only. On-policy its
expected gradient is 0 (E[grad log pi] = 0), so it cannot hold a band
(tests/algorithm/shaping/test_entropy_trained.py compares both).
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Literal, Self, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from g2rpo.per_task import task_sums
from g2rpo.tasks import DEFAULT, in_order, of_task

Estimator = Literal["exact", "sampled_nll"]


class EntropyBand:
    """An entropy band per task.

    Args:
        low: Lower bound in nats per token, for all tasks or by task. `default` is for all tasks
            that are not named; None stands for no bound.
        high: Upper bound in nats per token, likewise for all tasks or by task.
        weight: Loss per nat outside the band, 0 or more.
        estimator: `exact` or `sampled_nll`, see the head of this file.
    """

    def __init__(
        self,
        *,
        low: float | Mapping[str, float | None],
        high: float | Mapping[str, float | None],
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
        self._sides = [
            side if isinstance(side, Mapping) else {DEFAULT: side} for side in (low, high)
        ]
        keys = [task for side in self._sides for task in side]
        named = in_order(keys, keys)
        self.low, self.high = self._bounds(named)
        """One bound per task: of the run after `for_tasks`, else of those named."""
        for task, low_bound, high_bound in zip(
            named, self.low.tolist(), self.high.tolist(), strict=True
        ):
            if not 0 <= low_bound < high_bound:
                where = f" for {task}" if task != DEFAULT else ""
                raise ValueError(
                    "shaping.entropy: expected 0 <= low < high (nats per token), got"
                    f" low={low_bound:g}, high={high_bound:g}{where}"
                )

    def for_tasks(self, tasks: Sequence[str]) -> Self:
        """Return the same band for the tasks of a run; raises `ValueError` for one without band."""
        missing = [
            task
            for task in tasks
            if not any(task in side or DEFAULT in side for side in self._sides)
        ]
        if missing:
            raise ValueError(
                "shaping.entropy: expected a band for every task, got none for"
                f" {', '.join(missing)}; add +shaping.entropy.low.{missing[0]} and"
                f" +shaping.entropy.high.{missing[0]} in nats per token, or a default beside the"
                " named tasks, which may be null for no bound"
            )
        found = copy(self)
        found.low, found.high = self._bounds(tasks)
        return found

    def _bounds(self, tasks: Sequence[str]) -> list[Float[Tensor, " k"]]:
        return [
            torch.tensor(
                [open if (bound := of_task(side, task, None)) is None else bound for task in tasks],
                dtype=torch.float64,
            )
            for side, open in zip(self._sides, (0.0, float("inf")), strict=True)
        ]

    def token_entropy(
        self, entropy: Float[Tensor, "b t"], logprobs: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Return the entropy of each token, or -logp of the sampled token for `sampled_nll`."""
        return entropy if self.estimator == "exact" else -logprobs

    def signs(
        self, entropy_sum: Float[Tensor, " k"], tokens: Shaped[Tensor, " k"]
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, ""]]:
        """Return on which side of its band each task lies, and the penalty of the batch.

        Args:
            entropy_sum: Sum of token entropies per task over all micro-batches and ranks, in the
                order of the run (see `task_sums`).
            tokens: Number of these tokens per task; 0 for a task that does not occur.

        Returns:
            +1 above the band, -1 below, 0 inside or if a task does not occur; and the weighted
            penalty, without gradient.
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
        """Return the term to add to the loss of a micro-batch.

        Summed over the micro-batches, its gradient is the gradient of the penalty.

        Args:
            entropy: `token_entropy` of this micro-batch, with gradient.
            mask: True or 1 on completion tokens.
            tasks: Positions among the tasks of the run.
            signs: The signs that `signs` returned for the batch.
            tokens: Number of tokens per task in the whole batch.
        """
        entropy_sum, _ = task_sums(entropy, mask, tasks, len(signs))
        return self.weight * (signs * entropy_sum / tokens.clamp(min=1)).sum()
