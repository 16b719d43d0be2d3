"""The randomness of sampling: it depends on the seed and a prompt's position, and on no rank.

So a run draws the same completions on any number of ranks, in any order, and beside any other
prompts.
"""

from collections.abc import Sequence
from random import Random

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

SEEDS = 2**62
"""Number of seeds of a prompt. They stay well below 2^63, because vLLM adds the index of the
completion within its group.
"""
SCALE = 2.0**40
"""A weight of 1 as a whole number: the sum of a vocabulary's weights still fits 63 bits."""
CHUNK = 2**24
"""Number of weights that are summed at once, in 8 bytes each."""


PER_DRAW = 2**32
"""Distance between the positions of two draws of a step, which may be answered together."""


def prompt_seed(seed: int, position: int) -> int:
    """Return the seed of a prompt's completions.

    Args:
        seed: Seed of a step's first draw, the same for all prompts and ranks.
        position: Position of the prompt among those of all ranks, plus `PER_DRAW` for every draw
            before.
    """
    draws, place = divmod(position, PER_DRAW)
    return Random(f"{seed + draws}/{place}").randrange(SEEDS)  # noqa: S311


def uniforms(
    seed: int, positions: Sequence[int], group_size: int, max_new_tokens: int
) -> Float64[Tensor, "b t"]:
    """Return a uniform number in [0, 1) for every token of every completion, on the CPU.

    Args:
        seed: Seed of this draw.
        positions: Position of each prompt.
        group_size: Number of completions per prompt; the first ones do not depend on it.
        max_new_tokens: Number of tokens per completion.
    """
    shape = (group_size, max_new_tokens)
    rows = [
        torch.rand(
            shape,
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(prompt_seed(seed, position)),
        )
        for position in positions
    ]
    return torch.cat(rows) if rows else torch.zeros(0, max_new_tokens, dtype=torch.float64)


def draw(weights: Float[Tensor, "n v"], uniform: Float64[Tensor, " n"]) -> Int[Tensor, "n 1"]:
    """Draw one token per row by inverting the cumulative distribution.

    Sums are taken over whole numbers, so that they do not depend on the order in which a device
    adds.

    Args:
        weights: Unnormalized probabilities in [0, 1]; the largest of a row is 1. A token with
            weight 0 is never drawn.
        uniform: A number in [0, 1) for every row.
    """
    rows = max(1, CHUNK // weights.shape[1])
    return torch.cat(
        [_drawn(*part) for part in zip(weights.split(rows), uniform.split(rows), strict=True)]
    )


def _drawn(weights: Float[Tensor, "n v"], uniform: Float64[Tensor, " n"]) -> Int[Tensor, "n 1"]:
    sums = (weights * SCALE).long().cumsum(-1)
    total = sums[:, -1]
    below = torch.minimum((uniform * total).long(), total - 1)
    return torch.searchsorted(sums, below[:, None], right=True)
