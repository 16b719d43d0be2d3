"""GDPO: each part of the reward standardized by itself, summed, then whitened over the batch (Liu
et al. 2026, arXiv 2601.05242).

    1. A_part = (R_part - mean_group) / (std_group + 1e-6), as in GRPO;
    2. S = sum over parts;
    3. A = (S - mean) / sqrt(var + 1e-6) over the batch, every completion weighted by its tokens,
        population variance.

Step 3 is token-weighted in the released implementation that this follows; without
`completion_tokens` all completions weigh the same.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.grpo import standardized
from g2rpo.algorithm.advantage.parts import reward_parts
from g2rpo.algorithm.advantage.segments import Segments

EPS = 1e-6
"""Added to the variance; a batch without any signal stays at 0."""


class GDPO:
    """Standardized parts, summed and whitened. It has no settings."""

    parts_only: ClassVar[bool] = True
    """`rewards` are not looked at, so what is subtracted from them has no effect."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """One advantage per completion from `parts` (required); `rewards` itself and `tasks` are
        not looked at.
        """
        segments = Segments(groups)
        summed = torch.stack([standardized(part, segments) for part in reward_parts(parts)]).sum(0)
        tokens = (
            torch.ones_like(summed) if completion_tokens is None else completion_tokens.double()
        )
        return whitened(summed, tokens).to(rewards.dtype)


def whitened(values: Float[Tensor, " b"], weights: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Values with weighted mean 0 and weighted population variance 1, in float64."""
    weights = weights / weights.sum().clamp(min=1)
    centerd = values - (weights * values).sum()
    return centerd / ((weights * centerd.square()).sum() + EPS).sqrt()
