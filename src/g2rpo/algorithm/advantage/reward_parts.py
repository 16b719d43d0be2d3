"""The reward parts that GDPO and decoupled G2RPO treat separately."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import check_rewards

NOT_REWARDS = frozenset({"total"})
"""Entries of `Scores.parts` that are not parts of the reward."""


def reward_parts(parts: Mapping[str, Float[Tensor, " b"]] | None) -> list[Float[Tensor, " b"]]:
    """Return every part except the total: accuracy, format, structure, and length if shaped.

    Raises:
        ValueError: If there is no part, or if a part has values that are not finite.
    """
    chosen = [values for name, values in (parts or {}).items() if name not in NOT_REWARDS]
    if not chosen:
        raise ValueError(
            "advantage: this estimator needs the parts of the reward; expected parts={'accuracy':"
            " ..., ...}, got none"
        )
    for values in chosen:
        check_rewards(values)
    return chosen
