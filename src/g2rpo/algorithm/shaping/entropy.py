"""Entropy shaping: a penalty that keeps the mean token entropy H of each task inside a band.

    penalty = weight * sum over tasks of (relu(H - high) + relu(low - H))      H in nats per token

(Hu et al. 2026, arXiv 2604.08539, eq. 10.) H is a mean over the *whole* batch. `weights` decides
once per batch how strongly each task is pushed and in which direction, and `loss` applies these
weights to every micro-batch, even if the micro-batch's own mean lies on the other side. A task
without tokens adds nothing; in the released code it counted as H = 0 and added `low`.

`controller` selects the weight. `fixed` is the paper's: one number for every task and step, which
is too small for one task and too large for another. `dual` treats the band as a constraint: the
weight of each side of each task follows projected dual ascent (`dual.py`), so it rises for as long
as the side is violated, up to `weight`, and falls back to 0 after.

`estimator` selects H. `exact` is the entropy of the full next-token distribution. `sampled_nll`,
the mean -logp of the sampled tokens as in the release, is for comparison only. On-policy its
expected gradient is 0 (E[grad log pi] = 0), so it cannot hold a band
(tests/algorithm/shaping/test_entropy_trained.py compares both).
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Literal, Self, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from g2rpo.algorithm.shaping.dual import DualAscent, violated
from g2rpo.per_task import task_sums
from g2rpo.tasks import DEFAULT, in_order, of_task

Controller = Literal["fixed", "dual"]
Estimator = Literal["exact", "sampled_nll"]


class EntropyBand:
    """An entropy band per task.

    Args:
        low: Lower bound in nats per token, for all tasks or by task. `default` is for all tasks
            that are not named; None stands for no bound.
        high: Upper bound in nats per token, likewise for all tasks or by task.
        weight: Loss per nat outside the band, 0 or more; with `dual`, the most that it may become.
        controller: `fixed` or `dual`, see the head of this file.
        step_size: Used by `dual`: loss per nat that the weight of a task gains, per optimizer
            update, for each nat outside the band; above 0.
        damping: Used by `dual`: loss per nat that is added at once for each nat outside the band, 0
            or more. It keeps the entropy from swinging.
        inset: Used by `dual`: it aims inside the band by this share of each bound, in [0, 1).
        estimator: `exact` or `sampled_nll`, see the head of this file.
    """

    def __init__(
        self,
        *,
        low: float | Mapping[str, float | None],
        high: float | Mapping[str, float | None],
        weight: float,
        controller: Controller = "fixed",
        step_size: float = 0.2,
        damping: float = 2.0,
        inset: float = 0.05,
        estimator: Estimator = "exact",
    ) -> None:
        check_choice("estimator", estimator, Estimator)
        check_choice("controller", controller, Controller)
        check_number("weight", weight, "0 or more (loss per nat outside the band)", weight >= 0)
        check_number(
            "step_size", step_size, "a number above 0 (loss per nat, nat and update)", step_size > 0
        )
        check_number("damping", damping, "0 or more (loss per nat and nat)", damping >= 0)
        check_number("inset", inset, "a share in [0, 1)", 0 <= inset < 1)
        if controller == "dual" and estimator != "exact":
            raise ValueError(
                "shaping.entropy.controller=dual: expected estimator=exact, got"
                f" {estimator}, which measures the entropy and cannot move it; the weight would"
                " rise for nothing. Use controller=fixed to compare estimators"
            )
        self.weight = weight
        self.estimator = estimator
        self.dual: DualAscent | None = None
        """The dual variables of a run (after `for_tasks`) with `controller=dual`, else None."""
        self._ascent = (
            {"most": weight, "step_size": step_size, "damping": damping, "inset": inset}
            if controller == "dual"
            else None
        )
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
                by_task = any(isinstance(side, Mapping) for side in (low, high))
                where = f" for {task}" if by_task else ""
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
        if self._ascent is not None:
            found.dual = DualAscent(tasks, torch.stack([found.low, found.high]), **self._ascent)
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

    def weights(
        self, entropy_sum: Float[Tensor, " k"], tokens: Shaped[Tensor, " k"]
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, ""]]:
        """Return how strongly each task's entropy is pushed, and the penalty of the batch.

        Args:
            entropy_sum: Sum of token entropies per task over all micro-batches and ranks, in the
                order of the run (see `task_sums`).
            tokens: Number of these tokens per task; 0 for a task that does not occur.

        Returns:
            The derivative of the penalty by each task's mean entropy, in loss per nat: positive
            lowers the entropy, negative raises it, 0 leaves it alone. And the penalty, without
            gradient; it is negative if dual variables still push a task that is inside.
        """
        present = tokens > 0
        mean = entropy_sum.detach().double() / tokens.clamp(min=1)
        if self.dual is None:
            sides = violated(torch.stack([self.low, self.high]), mean)
            below, above = self.weight * (sides > 0).double()
        else:
            (below, above), sides = self.dual.weights(mean)
        weights = above - below
        penalty = below * sides[0] + above * sides[1]
        return (
            weights.where(present, 0.0).to(entropy_sum.dtype),
            penalty.where(present, 0.0).sum().to(entropy_sum.dtype),
        )

    def ascend(self, entropy_sum: Float[Tensor, " k"], tokens: Shaped[Tensor, " k"]) -> None:
        """Move the dual variables after an update with these sums; nothing if there are none."""
        if self.dual is not None:
            self.dual.ascend(entropy_sum / tokens.clamp(min=1), tokens > 0)

    def state_dict(self) -> dict[str, tuple[float, float]]:
        """Return the dual variables by task; empty with `controller=fixed`."""
        return {} if self.dual is None else self.dual.state_dict()

    def load_state_dict(self, state: Mapping[str, tuple[float, float]]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if it comes from a run with the other controller.
        """
        before, now = ("dual" if held else "fixed" for held in (state, self.dual))
        if before != now:
            raise ValueError(
                f"resume: expected shaping.entropy.controller={before} as in the run to resume, got"
                f" {now}; set it and the bounds of that run (those of the released code are"
                " shaping=entropy_released), or start a new run from its checkpoints/final with"
                " model.path"
            )
        if self.dual is not None:
            self.dual.load_state_dict(state)

    def loss(
        self,
        entropy: Float[Tensor, "b t"],
        mask: Shaped[Tensor, "b t"],
        tasks: Int[Tensor, " b"],
        weights: Float[Tensor, " k"],
        tokens: Shaped[Tensor, " k"],
    ) -> Float[Tensor, ""]:
        """Return the term to add to the loss of a micro-batch.

        Summed over the micro-batches, its gradient is the gradient of the penalty.

        Args:
            entropy: `token_entropy` of this micro-batch, with gradient.
            mask: True or 1 on completion tokens.
            tasks: Positions among the tasks of the run.
            weights: The weights that `weights` returned for the batch.
            tokens: Number of tokens per task in the whole batch.
        """
        entropy_sum, _ = task_sums(entropy, mask, tasks, len(weights))
        return (weights * entropy_sum / tokens.clamp(min=1)).sum()


def check_choice(key: str, value: str, choices: Any) -> None:
    """Raise `ValueError` unless the value is one of the strings of a `Literal`."""
    if value not in get_args(choices):
        raise ValueError(
            f"shaping.entropy.{key}: expected one of {', '.join(get_args(choices))}, got {value!r}"
        )


def check_number(key: str, value: float, expected: str, valid: bool) -> None:
    """Raise `ValueError` with what was expected, unless the value is valid and finite."""
    if not (valid and value < float("inf")):
        raise ValueError(f"shaping.entropy.{key}: expected {expected}, got {value}")
