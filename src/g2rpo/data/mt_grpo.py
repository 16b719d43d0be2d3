"""MT-GRPO: the shares of the tasks follow the worst one (Ramesh et al. 2026, arXiv 2602.05547).

The shares are z_k = s_k exp(x_k) / sum over j; s are those of the mixture, and x = 0 at first.
After every rollout batch, Adam takes a step in x down the gradient of sum over k of z_k u_k with

    u_k = clip(J_k - J_k before, -0.1, 0.1) + reward_weight J_k
    J_k = decay (J_k before) + (1 - decay) (mean accuracy of the task's groups, kept or not)

so tasks that are bad and do not improve are drawn more often. The other half is the
ratio-preserving sampler: a step draws until the groups that the filter keeps have the shares of its
first batch, and every further batch has only tasks that still lack some, in proportion.

Equations and numbers are those of the released code (its 3-task run), with three differences. It
measures improvement as the fall of a task's loss in an update, by one more pass; here it is that of
the accuracy. It draws tasks at random; here they are interleaved. It fills a batch that is still
short after the last draw with other tasks; here the batch stays short. Its shares begin equal, as
ours do with `task_mix=generalist`.
"""

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from statistics import fmean
from typing import Any

import torch


class MTGRPO:
    """`curriculum=mt_grpo`: shares of the tasks that change with their accuracy.

    Args:
        lr: Learning rate of Adam, above 0.
        reward_weight: Weight of the accuracy beside its change, 0 or more.
        decay: Decay of the mean accuracy per rollout batch, in [0, 1).
        weight_decay: Pull of Adam toward the mixture's shares, 0 or more.
    """

    revisits = False

    def __init__(
        self,
        *,
        lr: float = 0.025,
        reward_weight: float = 0.2,
        decay: float = 0.5,
        weight_decay: float = 1e-5,
    ) -> None:
        if not 0 < lr < float("inf"):
            raise ValueError(f"curriculum.lr: expected a number above 0, got {lr}")
        for name, value in (("reward_weight", reward_weight), ("weight_decay", weight_decay)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"curriculum.{name}: expected 0 or more, got {value}")
        if not 0 <= decay < 1:
            raise ValueError(f"curriculum.decay: expected a number in [0, 1), got {decay}")
        self.lr, self.weight_decay = lr, weight_decay
        self.reward_weight = reward_weight
        self.decay = decay
        self.accuracy: dict[str, float] = {}
        """J by task; a task is missing until it was drawn."""
        self._new: defaultdict[str, list[float]] = defaultdict(list)

    def begin(self, shares: Mapping[str, float]) -> None:
        """Start with the shares of the mixture."""
        self._tasks = tuple(shares)
        self._log_shares = torch.tensor([*shares.values()], dtype=torch.float64).log()
        self._moved = torch.zeros_like(self._log_shares, requires_grad=True)
        self._adam = torch.optim.Adam([self._moved], lr=self.lr, weight_decay=self.weight_decay)

    def shares(self) -> dict[str, float]:
        """Return the share of each task by name; the shares sum to 1."""
        found = (self._log_shares + self._moved.detach()).softmax(0)
        return dict(zip(self._tasks, found.tolist(), strict=True))

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """Return True: prompts of a task are all alike here."""
        return True

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """Remember the accuracy of a group until `rebalance`."""
        self._new[task].append(accuracy)

    def rebalance(self) -> None:
        """Move the shares after a rollout batch; a task without a group has not improved."""
        gains = []
        for task in self._tasks:
            before = self.accuracy.get(task)
            if task in self._new:
                new = fmean(self._new[task])
                self.accuracy[task] = (
                    new if before is None else self.decay * before + (1 - self.decay) * new
                )
            now = self.accuracy.get(task, 0.0)
            change = 0.0 if before is None else min(0.1, max(-0.1, now - before))
            gains.append(change + self.reward_weight * now)
        self._new.clear()
        self._adam.zero_grad()
        shares = (self._log_shares + self._moved).softmax(0)
        (shares @ torch.tensor(gains, dtype=torch.float64)).backward()
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Return x, J and the moments of Adam."""
        return {
            "moved": self._moved.tolist(),
            "accuracy": dict(self.accuracy),
            "adam": deepcopy(self._adam.state_dict()),  # its tensors change in place
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._moved.data.copy_(torch.tensor(state["moved"], dtype=torch.float64))
        self.accuracy = dict(state["accuracy"])
        self._adam.load_state_dict(dict(state["adam"]))
