"""The gradient of the loss: those of the tasks, added. No task needs one of its own."""

import torch
from jaxtyping import Float
from torch import Tensor


class Sum:
    """All weights are 1."""

    by_task = False

    def __call__(self, gramian: Float[Tensor, "k k"], seed: int) -> Float[Tensor, " k"]:
        """Return ones."""
        return torch.ones_like(gramian[0])
