"""Projected dual ascent: one weight per task and side of a band, as large as the band needs.

The band is a pair of constraints, low' <= H and H <= high'. Each has a dual variable mu and, in the
augmented Lagrangian of a constraint v <= 0 (Hestenes 1969; Rockafellar 1973), the weight

    w  = clip(mu + damping v, 0, most)        v_low = low' - H,  v_high = H - high'   (nats)
    mu = clip(mu + step_size v, 0, most)      after every optimizer update

The gradient is w grad v. H is that of the whole minibatch of all ranks, so the variables are equal
on every rank. A variable rises while its side is violated and falls to 0 while H is inside. Without
damping, H and mu swing about each other, because the ascent answers late.

low' = low (1 + inset) and high' = high (1 - inset) lie inside the band. A constraint that binds
settles *at* its bound, and as single steps scatter, half of them would lie outside.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class DualAscent:
    """The dual variables of a band, 0 at the start.

    Args:
        tasks: Names of the tasks of the run, in its order.
        bounds: Lower bound (0 for none) and upper bound (infinite for none) per task, in nats per
            token.
        most: Upper bound of each weight, in loss per nat.
        step_size: Change of a variable per nat of violation and update, in loss per nat.
        damping: Weight per nat of violation that acts at once, in loss per nat.
        inset: Share of each bound by which low' and high' lie inside the band.

    Raises:
        ValueError: if low' is not below high' for a task.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        bounds: Float[Tensor, "2 k"],
        *,
        most: float,
        step_size: float,
        damping: float,
        inset: float,
    ) -> None:
        self.tasks = tuple(tasks)
        self.aims = bounds * torch.tensor([[1 + inset], [1 - inset]], dtype=bounds.dtype)
        """low' and high' per task, in nats per token."""
        self.most = most
        self.step_size = step_size
        self.damping = damping
        self.variables = torch.zeros_like(self.aims)
        """mu of the lower and of the upper side per task, in loss per nat."""
        for task, lower, upper in zip(self.tasks, *self.aims.tolist(), strict=True):
            if not lower < upper:
                raise ValueError(
                    "shaping.entropy.inset: expected low * (1 + inset) < high * (1 - inset), got"
                    f" {lower:g} and {upper:g} for {task}; lower inset or widen the band"
                )

    def weights(
        self, entropy: Float[Tensor, " k"]
    ) -> tuple[Float[Tensor, "2 k"], Float[Tensor, "2 k"]]:
        """Return w and v of both sides per task.

        Args:
            entropy: Mean entropy per task in the minibatch of all ranks, in nats per token.
        """
        violations = violated(self.aims, entropy)
        moved = self.variables.to(entropy) + self.damping * violations
        return moved.clamp(0.0, self.most), violations

    def ascend(self, entropy: Float[Tensor, " k"], present: Shaped[Tensor, " k"]) -> None:
        """Move the variables of the tasks that occur.

        Args:
            entropy: As in `weights`.
            present: Whether a task occurs in the minibatch; the others keep their variables.
        """
        steps = self.step_size * violated(self.aims, entropy.detach().cpu().double())
        moved = (self.variables + steps).clamp(0.0, self.most)
        self.variables = torch.where(present.cpu(), moved, self.variables)

    def state_dict(self) -> dict[str, tuple[float, float]]:
        """Return the variables of the lower and of the upper side by task."""
        pairs = self.variables.T.tolist()
        return {task: (low, high) for task, (low, high) in zip(self.tasks, pairs, strict=True)}

    def load_state_dict(self, state: Mapping[str, tuple[float, float]]) -> None:
        """Restore what `state_dict` returned."""
        pairs = [state[task] for task in self.tasks]
        self.variables = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2).T.contiguous()


def violated(bounds: Float[Tensor, "2 #k"], entropy: Float[Tensor, " k"]) -> Float[Tensor, "2 k"]:
    """Return how far each task is below its lower and above its upper bound, in nats.

    Numbers inside the band are negative; on a side without a bound they are very small.
    """
    below, above = bounds.to(entropy)
    return torch.stack([below - entropy, entropy - above]).clamp(min=-1e9)
