"""TMN-Reweight: rewards scaled by their task's mean group variance (GoLongRL, arXiv 2605.19577).

    scale   = sqrt(mean over the task's groups of the group variance, n - 1)
    p       = share of the group above s mean_group + (1 - s) mean_task        (mean_task: of means)
    w_i     = exp(gamma (0.5 - p)) if R_i > mean_group, else exp(gamma (p - 0.5))
    A_i     = w_i (R_i - mean_group) / (scale + 1e-6)

One scale per task aligns tasks whose rewards differ in size, and keeps the order of group variances
within a task. The weight raises right answers to hard prompts and lowers those to easy ones. As in
the authors' code, the threshold of p is smoothed toward the task, with s = 0.8 in their recipe and
gamma = 1. `gamma=0` leaves the normalization alone. A group of one gets 0 here and its plain reward
there. Weighted advantages of a group do not sum to zero in general.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import Segments, check_rewards

EPS = 1e-6


class TaskMean:
    """Rewards minus the mean of their group over the task's root mean group variance.

    Args:
        gamma: Strength of the weight by difficulty, 0 or more; 0 for none.
        smoothing: Share in [0, 1] of the group's own mean in the threshold of a pass.
    """

    def __init__(self, *, gamma: float = 1.0, smoothing: float = 0.8) -> None:
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"advantage.gamma: expected 0 (no weight) or more, got {gamma}")
        if not 0 <= smoothing <= 1:
            raise ValueError(f"advantage.smoothing: expected a share in [0, 1], got {smoothing}")
        self.gamma = gamma
        self.smoothing = smoothing

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion; uses `rewards`, `groups` and `tasks`."""
        check_rewards(rewards)
        by_group, by_task = Segments(groups), Segments(tasks)
        mean = by_group.mean(rewards)
        # each row counts 1 / size of its group, so that every group of a task counts once
        share = 1 / by_group.sizes.double()[by_group.index]
        num_groups = by_task.totals(share)

        def over_groups(values: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
            return (by_task.totals(share * values) / num_groups)[by_task.index]

        scale = over_groups(by_group.std(rewards, unbiased=True).square()).sqrt()
        centered = rewards.double() - mean
        scaled = centered / (scale + EPS)
        if not self.gamma:
            return scaled.to(rewards.dtype)
        threshold = self.smoothing * mean + (1 - self.smoothing) * over_groups(mean)
        passed = by_group.mean((rewards.double() > threshold + EPS).double())
        exponent = (0.5 - passed) * (2 * (centered > EPS).double() - 1)
        return (scaled * (self.gamma * exponent).exp()).to(rewards.dtype)
