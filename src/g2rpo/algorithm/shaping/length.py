r"""Length shaping: a reward part for completion lengths inside a band per task.

      1         ________
               /        \
      0  _____/          \_____   tokens
            min low  high max

(Hu et al. 2026, arXiv 2604.08539, eq. 9.) The part counts only if the answer is accurate enough, so
a short wrong answer gains nothing. If accuracy and total reward are equal in a whole group, every
completion gets the group's mean part, because rank-based advantages would otherwise turn a
difference in length into a full-size signal. Lengths are tokens; the released code uses characters.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.tasks import DEFAULT, of_task

AGREE_ATOL = 1e-6
"""Accuracies and totals that differ by at most this count as equal."""


def trapezoid(tokens: Int[Tensor, " b"], bands: Float[Tensor, "b 4"]) -> Float[Tensor, " b"]:
    """Return 0 outside [min, max], 1 in [low, high], and values between on the two slopes.

    A slope without width is a step; its end belongs to the plateau.

    Args:
        tokens: Completion lengths in tokens.
        bands: (min, low, high, max) for each completion, in tokens.

    >>> bands = torch.tensor([[10.0, 14.0, 20.0, 40.0]]).expand(3, 4)
    >>> trapezoid(torch.tensor([9, 12, 25]), bands).tolist()
    [0.0, 0.5, 0.75]
    """
    lowest, low, high, highest = bands.unbind(1)
    length = tokens.to(bands.dtype)
    rise = torch.where(length >= low, 1.0, (length - lowest) / (low - lowest).clamp(min=1e-9))
    fall = torch.where(length <= high, 1.0, (highest - length) / (highest - high).clamp(min=1e-9))
    return torch.minimum(rise, fall).clamp(0.0, 1.0)


class LengthBand:
    """The length part of the reward, with a band per task.

    Args:
        bands: (min, low, high, max) in tokens, by task. `default` is for all tasks that are not
            named; None stands for no band, whose part is 0.
        weight: Reward for a length on the plateau, 0 or more.
        min_accuracy: Length counts only for completions with at least this accuracy, in [0, 1].
        allow_in_unanimous_groups: Whether length may rank a group that is equal in everything else.
    """

    def __init__(
        self,
        *,
        bands: Mapping[str, Sequence[int] | None],
        weight: float,
        min_accuracy: float,
        allow_in_unanimous_groups: bool = False,
    ) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(
                "shaping.length.weight: expected 0 or more (reward for a length inside the band),"
                f" got {weight}"
            )
        if not 0 <= min_accuracy <= 1:
            raise ValueError(
                f"shaping.length.min_accuracy: expected an accuracy in [0, 1], got {min_accuracy}"
            )
        self.weight = weight
        self.min_accuracy = min_accuracy
        self.allow_in_unanimous_groups = allow_in_unanimous_groups
        self._by_task = {
            task: NO_BAND if band is None else checked_band(task, band)
            for task, band in bands.items()
        }
        self.bands = self._rows([task for task in bands if task != DEFAULT])
        """One row per task: of the run after `for_tasks`, else of those named."""

    def for_tasks(self, tasks: Sequence[str]) -> Self:
        """Return the same part for the tasks of a run; raises `ValueError` for one without band."""
        missing = [task for task in tasks if of_task(self._by_task, task, None) is None]
        if missing:
            raise ValueError(
                "shaping.length.bands: expected a band for every task, got none for"
                f" {', '.join(missing)}; add"
                f" '+shaping.length.bands.{missing[0]}=[min,low,high,max]' in tokens, or"
                " +shaping.length.bands.default, which may be null for no band"
            )
        found = copy(self)
        found.bands = self._rows(tasks)
        return found

    def _rows(self, tasks: Sequence[str]) -> Float[Tensor, "k 4"]:
        rows = [of_task(self._by_task, task, NO_BAND) for task in tasks]
        return torch.tensor(rows).reshape(-1, 4)

    def part(
        self,
        completion_tokens: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        groups: Int[Tensor, " b"],
        accuracy: Float[Tensor, " b"],
        total: Float[Tensor, " b"],
    ) -> Float[Tensor, " b"]:
        """Return the unweighted length part, in [0, 1].

        Args:
            completion_tokens: Lengths in tokens, including the end token.
            tasks: Positions among the tasks of the run.
            groups: One label per prompt; groups must be complete.
            accuracy: Accuracy part of the reward, in [0, 1].
            total: Reward before shaping.
        """
        inside = trapezoid(completion_tokens, self.bands.to(completion_tokens.device)[tasks])
        part = inside.where(accuracy >= self.min_accuracy, 0.0)
        if not self.allow_in_unanimous_groups:
            agree = ~(differs(accuracy, groups) | differs(total, groups))
            part = torch.where(agree, group_mean(part, groups), part)
        return part.to(total.dtype)


NO_BAND = (-4.0, -3.0, -2.0, -1.0)
"""A band that contains no possible length."""


def checked_band(task: str, band: Sequence[int]) -> tuple[float, ...]:
    """Return the band as floats; raises `ValueError` unless it has four ordered numbers."""
    if len(band) != 4 or not 0 <= band[0] <= band[1] <= band[2] <= band[3] < float("inf"):
        raise ValueError(
            f"shaping.length.bands.{task}: expected 0 <= min <= low <= high <= max (tokens), got"
            f" {list(band)}"
        )
    return tuple(float(bound) for bound in band)


def differs(values: Float[Tensor, " b"], groups: Int[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Return for each row whether values in its group differ by more than `AGREE_ATOL`."""
    labels, index = groups.unique(return_inverse=True)
    unset = values.new_zeros(len(labels), dtype=torch.float64)
    highest = unset.scatter_reduce(0, index, values.double(), "amax", include_self=False)
    lowest = unset.scatter_reduce(0, index, values.double(), "amin", include_self=False)
    return (highest - lowest > AGREE_ATOL)[index]


def group_mean(values: Float[Tensor, " b"], groups: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the mean over each row's group, bitwise equal for all rows of a group."""
    labels, index, sizes = groups.unique(return_inverse=True, return_counts=True)
    return (values.new_zeros(len(labels)).index_add(0, index, values) / sizes)[index]
