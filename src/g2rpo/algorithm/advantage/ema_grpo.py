"""EMA-GRPO: rewards scaled by a moving average per task (OneThinker, arXiv 2512.03043).

    m1, m2    moving averages of E[R] and E[R^2] per task, set by the first batch with that task
    sigma     sqrt(max(m2 - m1^2, min_std^2)), after this batch has entered the averages
    A_i     = (R_i - mean_group) / (sigma_task + 1e-6)

If the absolute value of any advantage in a group exceeds `guard`, that group is divided by its own
population standard deviation instead. The moments are state and part of the checkpoint. They are
equal on all ranks because every rank sees the whole batch.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards

EPS = 1e-6


class EMAGRPO:
    """Rewards minus the mean of their group, divided by the task's moving standard deviation.

    Args:
        decay: Decay of the moving averages per rollout batch, in [0, 1).
        min_std: Lower bound of the task's standard deviation, in units of the reward.
        guard: Largest absolute advantage that is scaled by the task instead of the group.
    """

    def __init__(self, *, decay: float = 0.99, min_std: float = 1e-3, guard: float = 5.0) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"advantage.decay: expected a share in [0, 1), got {decay}")
        if not 0 <= min_std < float("inf"):
            raise ValueError(
                f"advantage.min_std: expected 0 or more (in units of the reward), got {min_std}"
            )
        if not guard > 0:
            raise ValueError(
                f"advantage.guard: expected a positive number (inf switches it off), got {guard}"
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
        """Update the moments of every task in `tasks` and return one advantage per completion.

        A group of one gets 0. Uses `rewards`, `groups` and `tasks`.
        """
        check_rewards(rewards)
        by_group, by_task = Segments(groups), Segments(tasks)
        centered = rewards.double() - by_group.mean(rewards)
        scaled = centered / (self._sigma(rewards, by_task) + EPS)
        own = centered / (by_group.std(rewards, unbiased=False) + EPS)
        return torch.where(by_group.largest(scaled.abs()) > self.guard, own, scaled).to(
            rewards.dtype
        )

    def _sigma(self, rewards: Float[Tensor, " b"], by_task: Segments) -> Float[Tensor, " b"]:
        """Update the moments and return the standard deviation of each row's task."""
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
        """Return the moments (E[R], E[R^2]) of each task."""
        return {"moments": dict(self.moments)}

    def load_state_dict(self, state: Mapping[str, Mapping[int, tuple[float, float]]]) -> None:
        """Restore the moments that `state_dict` returned."""
        self.moments = {
            int(task): (float(first), float(second))
            for task, (first, second) in state["moments"].items()
        }
