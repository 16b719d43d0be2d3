"""Gradients of tasks on one of two ranks: `python task_gradient_ranks.py FOLDER`."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from g2rpo.training.task_gradients import TaskGradients

PARTS = (
    [(4, [1.0, 1.0, 0.0]), (0, [-1.0, 0.0, 1.0])],
    [(4, [1.0, 0.0, 0.0]), (7, [0.0, -2.0, 0.0])],
)


class Weighting:
    by_task = True

    def __call__(self, gramian: Tensor, seed: int) -> Tensor:
        self.gramian = gramian
        # a rank that rounds differently must not matter
        return torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) * (1 + dist.get_rank())


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = int(os.environ["RANK"])
    policy, weighting = nn.Module(), Weighting()
    policy.a = nn.Parameter(torch.zeros(3))
    found = TaskGradients(policy, weighting)
    for task, vector in PARTS[rank]:
        found.begin(task)
        (policy.a @ torch.tensor(vector)).backward()
    weights = found.combine(0.0, 0)
    saved = {"gramian": weighting.gramian, "weights": weights, "gradient": policy.a.grad}
    torch.save(saved, Path(sys.argv[1]) / f"{rank}.pt")
    dist.destroy_process_group()
