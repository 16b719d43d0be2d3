"""The reward parts that GDPO and decoupled G2RPO treat separately."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import check_rewards
from g2rpo.records import LOGGED

NOT_REWARDS = frozenset({"total"})
"""Entries of `Scores.parts` that are not parts of the reward."""


def over_parts(
    parts: Mapping[str, Float[Tensor, " b"]] | None,
    groups: Int[Tensor, " b"],
    own: Callable[[Float[Tensor, " n"], Int[Tensor, " n"]], Tensor],
) -> Tensor:
    """Return what `own` makes of each part, stacked: [parts, b], or [parts, rows, b].

    The parts are all but the total and what is only logged: accuracy, format, structure, those of
    the user's functions, and length if shaped. A part is NaN for completions that it does not
    concern. These are left out of `own`, and get 0.

    Args:
        parts: Reward parts by name, one value per completion.
        groups: One integer label per prompt.
        own: Maps values of a part and labels of `n` completions to one or more rows of `n` numbers.

    Raises:
        ValueError: If there is no part, or if a part has infinite values.
    """
    chosen = [
        values
        for name, values in (parts or {}).items()
        if name not in NOT_REWARDS and not name.startswith(LOGGED)
    ]
    if not chosen:
        raise ValueError(
            "advantage: this estimator needs the parts of the reward; expected parts={'accuracy':"
            " ..., ...}, got none"
        )
    return torch.stack([_over_present(values, groups, own) for values in chosen])


def _over_present(
    values: Float[Tensor, " b"],
    groups: Int[Tensor, " b"],
    own: Callable[[Float[Tensor, " n"], Int[Tensor, " n"]], Tensor],
) -> Tensor:
    present = ~values.isnan()
    check_rewards(values.where(present, 0.0))
    if present.all():
        return own(values, groups)
    found = own(values[present], groups[present])
    everywhere = found.new_zeros(*found.shape[:-1], len(values))
    everywhere[..., present] = found
    return everywhere
