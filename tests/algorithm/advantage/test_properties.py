"""What holds for any rewards. Rewards are quarters, so that two of them are either equal or far
apart.
"""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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

Batch = tuple[Tensor, Tensor, Tensor]
RANKED = {
    f"{scope}-{zero_signal}": lambda scope=scope, zero_signal=zero_signal: G2RPO(
        scope=scope, zero_signal=zero_signal
    )
    for scope in ("group", "task", "group_then_task")
    for zero_signal in ("mask", "keep")
} | {"decoupled": DecoupledG2RPO, "decoupled-keep": lambda: DecoupledG2RPO(zero_signal="keep")}
LOCAL = {"grpo": GRPO, "dr_grpo": DrGRPO, "rloo": RLOO, "group": RANKED["group-mask"]}
ODD = RANKED | LOCAL | {"ema_grpo": EMAGRPO, "gdpo": GDPO, "gd2po": GD2PO, "corr_grpo": CorrGRPO}
LOCAL = LOCAL | {"quantile": QuantileBaseline, "corr_grpo": CorrGRPO}
ALL = ODD | LOCAL | {"task_mean": TaskMean}
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Groups of 1 to 5 completions with odd labels, each of one of three tasks, rows shuffled."""
    groups = draw(
        st.lists(st.tuples(st.integers(1, 5), st.sampled_from([-2, 0, 11])), min_size=1, max_size=6)
    )
    rows = [
        (100 - 7 * label, task) for label, (size, task) in enumerate(groups) for _ in range(size)
    ]
    rows = draw(st.permutations(rows))
    rewards = draw(st.lists(st.integers(-4, 4), min_size=len(rows), max_size=len(rows)))
    labels = torch.tensor(rows)
    return torch.tensor(rewards, dtype=torch.float64) / 4, labels[:, 0], labels[:, 1]


def advantages(make: Callable, rewards: Tensor, groups: Tensor, tasks: Tensor) -> Tensor:
    """A fresh estimator's advantages; the parts are functions of the reward, so that they follow
    what a test does to it.
    """
    parts = {
        "accuracy": rewards,
        "format": rewards.abs() * rewards.sign() + rewards,
        "total": rewards,
    }
    return make()(rewards, groups, tasks, parts=parts, completion_tokens=torch.full_like(groups, 3))


def close(actual: Tensor, expected: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def each(table: dict[str, Callable]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", table.values(), ids=table.keys())


@each(ALL)
@settings(max_examples=15, deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(make: Callable, batch: Batch, random: object) -> None:
    order = torch.tensor(random.sample(range(len(batch[0])), len(batch[0])))
    close(advantages(make, *(x[order] for x in batch)), advantages(make, *batch)[order])


@each(ALL)
@settings(max_examples=15, deadline=None)
@given(batches())
def test_the_names_of_groups_and_tasks_do_not_matter(make: Callable, batch: Batch) -> None:
    rewards, groups, tasks = batch
    close(advantages(make, rewards, 10**6 - 3 * groups, 5 - tasks), advantages(make, *batch))


@each(RANKED)
@settings(max_examples=15, deadline=None)
@given(batches())
def test_only_the_order_of_rewards_matters_to_ranks(make: Callable, batch: Batch) -> None:
    rewards, groups, tasks = batch
    close(advantages(make, rewards.exp(), groups, tasks), advantages(make, *batch))
    close(advantages(make, 1000 * rewards - 7, groups, tasks), advantages(make, *batch))


@each(ODD)
@settings(max_examples=15, deadline=None)
@given(batches())
def test_opposite_rewards_give_opposite_advantages(make: Callable, batch: Batch) -> None:
    rewards, groups, tasks = batch
    close(advantages(make, -rewards, groups, tasks), -advantages(make, *batch))


@each(LOCAL)
@settings(max_examples=15, deadline=None)
@given(batches())
def test_a_group_is_blind_to_other_groups(make: Callable, batch: Batch) -> None:
    rewards, groups, tasks = batch
    own = groups == groups[0]
    close(
        advantages(make, torch.where(own, rewards, rewards.flip(0) * 3 + 1), groups, tasks)[own],
        advantages(make, *batch)[own],
    )


@each(RANKED | {"ema_grpo": EMAGRPO, "task_mean": TaskMean})
@settings(max_examples=15, deadline=None)
@given(batches())
def test_a_task_is_blind_to_other_tasks_even_if_they_are_absent(
    make: Callable, batch: Batch
) -> None:
    rewards, groups, tasks = batch
    own = tasks == tasks[0]
    close(advantages(make, rewards[own], groups[own], tasks[own]), advantages(make, *batch)[own])


@each(ALL)
@settings(max_examples=15, deadline=None)
@given(batches())
def test_float32_gives_what_float64_gives(make: Callable, batch: Batch) -> None:
    rewards, groups, tasks = batch
    single = advantages(make, rewards.float(), groups, tasks)
    assert single.dtype == torch.float32
    close(single.double(), advantages(make, *batch), atol=1e-5)


@each(ALL)
@pytest.mark.parametrize("device", DEVICES)
def test_every_device_gives_the_same(make: Callable, device: str) -> None:
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randint(0, 9, (96,), generator=generator).double() / 8
    groups = torch.arange(24).repeat_interleave(4)
    moved = advantages(make, rewards.to(device), groups.to(device), (groups % 5).to(device))
    assert moved.device.type == device
    close(moved.cpu(), advantages(make, rewards, groups, groups % 5))


@each(RANKED | LOCAL | {"ema_grpo": EMAGRPO, "gdpo": GDPO})
def test_a_completion_alone_has_nothing_to_be_compared_with(make: Callable) -> None:
    one = torch.tensor([3])
    assert advantages(make, torch.tensor([0.7]), one, one).tolist() == [0.0]


@each(RANKED | LOCAL | {"ema_grpo": EMAGRPO})
def test_an_empty_batch_gives_no_advantages(make: Callable) -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert advantages(make, torch.zeros(0), none, none).tolist() == []


@each({name: make for name, make in RANKED.items() if "keep" not in name})
@settings(max_examples=15, deadline=None)
@given(batches())
def test_a_masked_group_that_agrees_gets_exactly_zero_and_moves_nobody(
    make: Callable, batch: Batch
) -> None:
    rewards, groups, tasks = batch
    agreed, label = torch.full((3,), 0.25, dtype=torch.float64), torch.full((3,), 12345)
    extended = advantages(
        make,
        torch.cat([agreed, rewards]),
        torch.cat([label, groups]),
        torch.cat([tasks[:1].expand(3), tasks]),
    )
    assert extended[:3].tolist() == [0.0] * 3
    close(extended[3:], advantages(make, *batch))
