"""How much faster the vectorized G2RPO advantage is than a loop over groups.

    python perf/advantages.py

Both compute `scope=group_then_task`, `zero_signal=keep` for the same rewards, and must agree. The
printed ratio is the fastest time of the loop divided by that of
`g2rpo.algorithm.advantage.g2rpo.G2RPO`, on a CPU. Then the fastest time of every estimator follows,
for the same rewards as a single part. None of them keeps more than a few numbers per completion.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

from g2rpo.algorithm.advantage.corr_grpo import CorrGRPO
from g2rpo.algorithm.advantage.dr_grpo import DrGRPO
from g2rpo.algorithm.advantage.ema_grpo import EMAGRPO
from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.g2rpo_decoupled import DecoupledG2RPO
from g2rpo.algorithm.advantage.gd2po import GD2PO
from g2rpo.algorithm.advantage.gdpo import GDPO
from g2rpo.algorithm.advantage.grpo import GRPO
from g2rpo.algorithm.advantage.quantile import QuantileBaseline
from g2rpo.algorithm.advantage.rloo import RLOO
from g2rpo.algorithm.advantage.task_mean import TaskMean

ESTIMATORS = (
    GRPO,
    DrGRPO,
    RLOO,
    EMAGRPO,
    GDPO,
    GD2PO,
    CorrGRPO,
    TaskMean,
    QuantileBaseline,
    G2RPO,
    DecoupledG2RPO,
)


def ranks_of(values: Tensor, atol: float = 1e-6) -> Tensor:
    """Return the Gaussian ranks of one group or task, computed directly from the definition."""
    n = len(values)
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    ascending, order = values.sort()
    level = torch.cat([torch.zeros(1, dtype=torch.long), (ascending.diff() > atol).cumsum(0)])
    means = torch.zeros(n, dtype=torch.float64).index_add_(0, level, quantiles) / level.bincount(
        minlength=n
    ).clamp(min=1)
    out = torch.empty_like(quantiles)
    out[order] = means[level]
    return out


def loop(rewards: Tensor, groups: Tensor, tasks: Tensor) -> Tensor:
    """Compute the advantages in a loop over groups, then over tasks."""
    values = rewards.double()
    for labels in (groups.tolist(), tasks.tolist()):
        rows = defaultdict(list)
        for row, label in enumerate(labels):
            rows[label].append(row)
        out = torch.zeros_like(values)
        for members in rows.values():
            out[members] = ranks_of(values[members])
        values = out
    return values


def seconds(call: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Check that both agree, then print their times and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prompts", type=int, default=512, help="prompts of each task in the rollout batch"
    )
    parser.add_argument("--group-size", type=int, default=8, help="completions per prompt")
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    groups = torch.arange(args.prompts * args.tasks).repeat_interleave(args.group_size)
    tasks = groups % args.tasks
    graded = torch.rand(len(groups), generator=torch.Generator().manual_seed(0))
    rewards = torch.where(tasks % 2 == 0, graded.round(), (graded * 100).round() / 100)

    vectorized = G2RPO(zero_signal="keep")
    gap = (
        (loop(rewards, groups, tasks) - vectorized(rewards, groups, tasks).double())
        .abs()
        .max()
        .item()
    )
    if gap > 1e-5:
        raise SystemExit(f"the loop and the vectorized advantage differ by {gap:.1e}")
    slow = fast = float("inf")
    for _ in range(10):  # in turns, so that other load affects both alike
        slow = min(slow, seconds(lambda: loop(rewards, groups, tasks)))
        fast = min(fast, *(seconds(lambda: vectorized(rewards, groups, tasks)) for _ in range(20)))
    print(
        f"{args.prompts} prompts x {args.group_size} completions x {args.tasks} tasks,"
        f" {args.threads} thread(s)"
    )
    print(
        f"loop over groups {1e3 * slow:.1f} ms, vectorized {1e3 * fast:.2f} ms, ratio"
        f" {slow / fast:.0f}"
    )
    for make in ESTIMATORS:
        estimator = make()

        def call(own: object = estimator) -> object:
            return own(rewards, groups, tasks, parts={"accuracy": rewards})

        print(f"{make.__name__} {1e3 * min(seconds(call) for _ in range(20)):.2f} ms")


if __name__ == "__main__":
    main()
