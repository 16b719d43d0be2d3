import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import norm
from torch import Tensor

from g2rpo.algorithm.advantage.g2rpo import G2RPO

A4, B4 = [0.0, 0.0, 0.0, 1.0], [0.1, 0.4, 0.2, 0.9]
GROUPS, ONE_TASK = torch.tensor([0] * 4 + [1] * 4), torch.zeros(8, dtype=torch.long)


def close(actual: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_two_passes_rank_a_task_over_its_groups() -> None:
    expected = [-0.5111, -0.5111, -0.5111, 1.2106, -1.5341, 0.4888, 0.1573, 1.2106]
    close(G2RPO()(torch.tensor(A4 + B4), GROUPS, ONE_TASK), expected)


def test_groups_of_different_tasks_do_not_meet() -> None:
    expected = [-0.3834, -0.3834, -0.3834, 1.1503, -1.1503, 0.3186, -0.3186, 1.1503]
    close(G2RPO()(torch.tensor(A4 + B4), GROUPS, GROUPS * 7), expected)


def test_scope_group_stops_after_the_first_pass() -> None:
    expected = [-0.3834, -0.3834, -0.3834, 1.1503, -1.1503, 0.3186, -0.3186, 1.1503]
    close(G2RPO(scope="group")(torch.tensor(A4 + B4), GROUPS, ONE_TASK), expected)


def test_scope_task_ranks_rewards_across_groups() -> None:
    # sorted: 0 0 0 .1 .2 .4 .9 1 -> quantiles of 1/16, 3/16, ..., 15/16
    q = norm.ppf([(i + 0.5) / 8 for i in range(8)])
    lowest = q[:3].mean()
    close(
        G2RPO(scope="task")(torch.tensor(A4 + B4), GROUPS, ONE_TASK),
        [lowest, lowest, lowest, q[7], q[3], q[5], q[4], q[6]],
    )


@pytest.mark.parametrize(
    ("mixed", "push"), [([0.0, 0.0, 0.0, 1.0], 0.344), ([0.0, 1.0, 1.0, 1.0], -0.344)]
)
@pytest.mark.parametrize("agreed", [0.0, 1.0])
def test_a_group_that_agrees_is_pushed_as_released_and_gets_zero_when_masked(
    mixed: list[float], push: float, agreed: float
) -> None:
    rewards = torch.tensor(mixed + [agreed] * 4)
    close(G2RPO(zero_signal="keep")(rewards, GROUPS, ONE_TASK)[4:], [push] * 4)
    assert G2RPO(zero_signal="mask")(rewards, GROUPS, ONE_TASK)[4:].tolist() == [0.0] * 4


def test_a_masked_group_takes_no_part_in_its_tasks_ranking() -> None:
    rewards = torch.tensor(A4 + B4 + [0.7] * 3)
    groups = torch.tensor([0] * 4 + [1] * 4 + [2] * 3)
    for scope in ("task", "group_then_task"):
        alone = G2RPO(scope=scope)(rewards[:8], groups[:8], torch.zeros(8, dtype=torch.long))
        together = G2RPO(scope=scope)(rewards, groups, torch.zeros(11, dtype=torch.long))
        assert together.tolist() == alone.tolist() + [0.0] * 3


def test_eight_completions_beside_one_group_of_one_in_eight_would_get_half_a_deviation() -> None:
    rewards, groups = (
        torch.tensor([0.0] * 7 + [1.0] + [0.0] * 8),
        torch.arange(2).repeat_interleave(8),
    )
    tasks = torch.zeros(16, dtype=torch.long)
    pushed = G2RPO(zero_signal="keep")(rewards, groups, tasks)[8:]
    assert pushed.tolist() == pytest.approx([0.54] * 8, abs=0.01)
    assert G2RPO()(rewards, groups, tasks)[8:].abs().max() == 0


def noisy_rewards() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards with many ties, and the same with the noise that adding weighted parts in another
    order leaves behind.
    """
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(0, 5, (240,), generator=generator).double() / 4
    noise = (torch.rand(240, generator=generator, dtype=torch.float64) - 0.5) * 2e-7
    groups = torch.arange(40).repeat_interleave(6)
    return clean, clean + noise, groups, groups % 3


@pytest.mark.parametrize("scope", ["group", "task", "group_then_task"])
def test_float_noise_cannot_reorder_ties(scope: str) -> None:
    clean, noisy, groups, tasks = noisy_rewards()
    robust = G2RPO(scope=scope)
    torch.testing.assert_close(
        robust(noisy, groups, tasks), robust(clean, groups, tasks), atol=1e-12, rtol=0
    )
    fragile = G2RPO(scope=scope, tie_atol=0.0)
    moved = (fragile(noisy, groups, tasks) - fragile(clean, groups, tasks)).abs().max()
    assert moved > 0.5, (
        "without a tolerance the same noise moves an advantage by more than half a standard"
        " deviation"
    )


def test_the_second_pass_ties_opposite_quantiles_that_cancel_only_nearly() -> None:
    # the middle of a group of 3 and a group in which all tie both mean 0, whatever their float sums
    # say
    rewards = torch.tensor([0.0, 1.0, 2.0] + [3.0] * 7, dtype=torch.float32)
    groups = torch.tensor([0] * 3 + [1] * 7)
    advantages = G2RPO(zero_signal="keep")(rewards, groups, torch.zeros(10, dtype=torch.long))
    assert len(advantages[[1, 3, 4, 5, 6, 7, 8, 9]].unique()) == 1


def test_a_bonus_below_the_tolerance_is_no_signal() -> None:
    rewards = torch.tensor([1.0, 1.0, 1.0 + 5e-7, 1.0], dtype=torch.float64)
    assert (
        G2RPO()(
            rewards, torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.long)
        ).tolist()
        == [0.0] * 4
    )


def test_the_tolerance_counts_in_rewards_and_not_in_quantiles() -> None:
    # eight rewards 1 apart, quantiles of the first pass as little as .31 apart: a tolerance of .5
    # must not merge those
    rewards, group = torch.arange(8.0), torch.zeros(8, dtype=torch.long)
    close(
        G2RPO(tie_atol=0.5)(rewards, group, group),
        [-1.5341, -0.8871, -0.4888, -0.1573, 0.1573, 0.4888, 0.8871, 1.5341],
    )


def test_the_tolerance_is_used_within_groups() -> None:
    # .1 .2 .4 chain into one level at .25, .9 stays apart: both groups are three low and one high
    close(
        G2RPO(tie_atol=0.25)(torch.tensor(A4 + B4), GROUPS, ONE_TASK),
        [-0.4035, -0.4035, -0.4035, 1.2106] * 2,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_advantages_come_back_in_the_dtype_of_the_rewards(dtype: torch.dtype) -> None:
    advantages = G2RPO()(torch.tensor(A4 + B4, dtype=dtype), GROUPS, ONE_TASK)
    assert advantages.dtype == dtype
    torch.testing.assert_close(
        advantages.float(), G2RPO()(torch.tensor(A4 + B4), GROUPS, ONE_TASK), atol=1e-3, rtol=0
    )


def test_a_scope_that_does_not_exist_is_refused_by_name() -> None:
    config = OmegaConf.create(
        {"_target_": "g2rpo.algorithm.advantage.g2rpo.G2RPO", "scope": "prompt"}
    )
    with pytest.raises(InstantiationException, match="prompt"):
        instantiate(config)


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"advantage\.tie_atol: expected 0 or more \(in units of the reward\), got -1e-06",
    ):
        G2RPO(tie_atol=-1e-6)


def test_a_reward_that_is_not_a_number_is_named() -> None:
    with pytest.raises(ValueError, match="got nan for completion 2 of the batch"):
        G2RPO()(torch.tensor([0.0, 1.0, float("nan"), 0.0]), GROUPS[:4], ONE_TASK[:4])
