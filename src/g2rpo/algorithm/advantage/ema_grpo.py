"""EMA-GRPO: one scale per task, averaged over time (OneThinker, arXiv 2512.03043).

    m1, m2    per task, moving averages of E[R] and E[R^2] over batches; the first batch that has the task sets them
    sigma     sqrt(max(m2 - m1^2, min_std^2)), from averages that already contain this batch
    A_i     = (R_i - mean_group) / (sigma_task + 1e-6)

If any advantage of a group would exceed `guard` in size, that group is divided by its own
population standard deviation instead. The moments are state: they belong in the checkpoint, and are
equal on all ranks because every rank sees the whole batch.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.segments import Segments, check_rewards

EPS = 1e-6


class EMAGRPO:
    """Distance to the group's mean, in units of the task's moving standard deviation."""

    def __init__(self, *, decay: float = 0.99, min_std: float = 1e-3, guard: float = 5.0) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"advantage.decay: expected a share in [0, 1), got {decay}")
        if not 0 <= min_std < float("inf"):
            raise ValueError(
                f"advantage.min_std: expected 0 or more (in units of the reward), got {min_std}"
            )
        if not guard > 0:
            raise ValueError(
                f"advantage.guard: expected a positive advantage (inf switches it off), got {guard}"
            )
        self.decay = decay
        self.min_std = min_std
        self.guard = guard
        self.moments: dict[int, tuple[float, float]] = {}

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """One advantage per completion; moves the moments of every task in `tasks`. A group of one
        gets 0.
        """
        check_rewards(rewards)
        by_group, by_task = Segments(groups), Segments(tasks)
        centerd = rewards.double() - by_group.mean(rewards)
        scaled = centerd / (self._sigma(rewards, by_task) + EPS)
        own = centerd / (by_group.std(rewards, unbiased=False) + EPS)
        return torch.where(by_group.largest(scaled.abs()) > self.guard, own, scaled).to(
            rewards.dtype
        )

    def _sigma(self, rewards: Float[Tensor, " b"], by_task: Segments) -> Float[Tensor, " b"]:
        """Moves the moments, then the standard deviation of each row's task."""
        values = rewards.double()
        batch = (
            torch.stack([by_task.totals(values), by_task.totals(values.square())]) / by_task.sizes
        )
        for task, first, second in zip(by_task.labels.tolist(), *batch.tolist(), strict=True):
            old = self.moments.get(task, (first, second))
            self.moments[task] = (self._moved(old[0], first), self._moved(old[1], second))
        sigmas = [self._task_sigma(task) for task in by_task.labels.tolist()]
        return torch.tensor(sigmas, dtype=torch.float64, device=rewards.device)[by_task.index]

    def _task_sigma(self, task: int) -> float:
        first, second = self.moments[task]
        return max(second - first**2, self.min_std**2) ** 0.5

    def _moved(self, old: float, new: float) -> float:
        return self.decay * old + (1 - self.decay) * new

    def state_dict(self) -> dict[str, dict[int, tuple[float, float]]]:
        """The moments (E[R], E[R^2]) by task, as plain numbers."""
        return {"moments": dict(self.moments)}

    def load_state_dict(self, state: Mapping[str, Mapping[int, tuple[float, float]]]) -> None:
        """Go on from what `state_dict` returned."""
        self.moments = {
            int(task): (float(first), float(second))
            for task, (first, second) in state["moments"].items()
        }
