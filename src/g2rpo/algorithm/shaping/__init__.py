"""Shaping per task: a length part of the reward, and an entropy term of the loss.

`length.py` adds its part before advantages are computed; `entropy.py` adds its term to the loss of
each update; `dual.py` finds the weight that keeps it inside its band. `pilot.py` proposes bands for
both from measured quantiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.algorithm.shaping.length import LengthBand


class Shaping:
    """Length and entropy shaping; None disables one of them."""

    def __init__(self, *, length: LengthBand | None, entropy: EntropyBand | None) -> None:
        self.length = length
        self.entropy = entropy

    def for_tasks(self, tasks: Sequence[str]) -> "Shaping":
        """Return the shaping of a run with these tasks.

        Raises:
            ValueError: if a task has no band.
        """
        return Shaping(
            length=self.length and self.length.for_tasks(tasks),
            entropy=self.entropy and self.entropy.for_tasks(tasks),
        )

    def shaped(
        self,
        total: Float[Tensor, " b"],
        accuracy: Float[Tensor, " b"],
        completion_tokens: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        groups: Int[Tensor, " b"],
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"] | None]:
        """Return the shaped reward, and the unweighted length part (None if disabled)."""
        if self.length is None:
            return total, None
        part = self.length.part(completion_tokens, tasks, groups, accuracy, total)
        return total + self.length.weight * part, part

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the entropy band for the checkpoint; empty without a band."""
        return {} if self.entropy is None else {"entropy": self.entropy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        A checkpoint from before `controller=dual` existed holds no state, as one of
        `controller=fixed`.

        Raises:
            ValueError: if the state is one of the other controller.
        """
        if self.entropy is not None:
            self.entropy.load_state_dict(state.get("entropy", {}))
