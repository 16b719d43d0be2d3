"""Shaping per task: `length` adds a part to the reward before advantages are computed, `entropy` a
term to the loss after.
"""

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.algorithm.shaping.length import LengthBand


class Shaping:
    """The two kinds of shaping; None switches one off."""

    def __init__(self, *, length: LengthBand | None, entropy: EntropyBand | None) -> None:
        self.length = length
        self.entropy = entropy

    def shaped(
        self,
        total: Float[Tensor, " b"],
        accuracy: Float[Tensor, " b"],
        completion_tokens: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        groups: Int[Tensor, " b"],
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"] | None]:
        """The reward that advantages are computed from, and the length part before its weight (None
        without `length`).
        """
        if self.length is None:
            return total, None
        part = self.length.part(completion_tokens, tasks, groups, accuracy, total)
        return total + self.length.weight * part, part
