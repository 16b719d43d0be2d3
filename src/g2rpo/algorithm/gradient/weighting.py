"""The plug-in point of `gradient=`, and how a choice gets its solver from TorchJD.

For gradients g_1 ... g_k of the tasks of a minibatch, with G_ij = <g_i, g_j>, the update uses

    sum over i of w_i g_i,    w = weighting(G)

The gradient of a task is that of its terms of the loss, divided by the denominators of the whole
minibatch, so w = 1 gives the gradient of the loss.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class TaskWeighting(Protocol):
    """Weighs the gradients of the tasks. Equal arguments give equal weights on every rank."""

    by_task: bool
    """Whether each task needs a gradient of its own, which costs memory for each of them."""

    def __call__(self, gramian: Float[Tensor, "k k"], seed: int) -> Float[Tensor, " k"]:
        """Return one weight per task.

        Args:
            gramian: Inner products of at least two gradients that are not 0, in float64.
            seed: Seed of random choices; it differs between updates.
        """


def torchjd(choice: str, *packages: str) -> Any:
    """Return the module `torchjd.aggregation`, which is imported only by a choice that needs it.

    Args:
        choice: Name of the choice, for the message.
        packages: What it needs besides TorchJD.

    Raises:
        ValueError: if a package is not installed.
    """
    for package in ("torchjd", *packages):
        if find_spec(package) is None:
            raise ValueError(
                f"gradient={choice}: {package} is not installed; pip install -c constraints/ci.txt"
                " -e .[gradient]"
            )
    return import_module("torchjd.aggregation")
