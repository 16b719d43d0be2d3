"""Which parts of a reward the estimators that rank parts separately look at."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from g2rpo.algorithm.advantage.segments import check_rewards

NOT_REWARDS = frozenset({"total"})
"""Entries of `Scores.parts` that are no part of the reward."""


def reward_parts(parts: Mapping[str, Float[Tensor, " b"]] | None) -> list[Float[Tensor, " b"]]:
    """Every part but the total: accuracy, format, structure, and length where shaping adds one. At
    least one, or a `ValueError`.
    """
    chosen = [values for name, values in (parts or {}).items() if name not in NOT_REWARDS]
    if not chosen:
        raise ValueError(
            "advantage: this estimator ranks the parts of the reward; expected parts={'accuracy':"
            " ..., ...}, got none"
        )
    for values in chosen:
        check_rewards(values)
    return chosen
