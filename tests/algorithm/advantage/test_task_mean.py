import math
from statistics import fmean, variance

import pytest
import torch
from random_batches import members, random_batches

from g2rpo.algorithm.advantage.task_mean import TaskMean

# task 5: groups 0 (.5, 1.5) and 1 (0, 4), variances .5 and 8, scale sqrt(4.25)
# task 9: group 2 (0, 0, 3), variance 3, scale sqrt(3)
REWARDS = torch.tensor([0.5, 0.0, 1.5, 4.0, 0.0, 0.0, 3.0], dtype=torch.float64)
GROUPS = torch.tensor([0, 1, 0, 1, 2, 2, 2])
TASKS = torch.tensor([5, 5, 5, 5, 9, 9, 9])


def test_one_scale_per_task_is_the_root_of_its_mean_group_variance() -> None:
    found = TaskMean(gamma=0.0)(REWARDS, GROUPS, TASKS)
    first, second = math.sqrt(4.25), math.sqrt(3)
    expected = [-0.5 / first, -2 / first, 0.5 / first, 2 / first]
    expected += [-1 / second, -1 / second, 2 / second]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_weights_by_hand_with_the_threshold_of_a_pass_halfway_to_the_task() -> None:
    # task 5 has mean (1 + 2) / 2. Thresholds: group 0 1.25, group 1 1.75, both passed by one of two
    # (p = .5, weight 1). Group 2: threshold 1, p = 1/3; right: e^(2/6), wrong: e^(-2/6)
    found = TaskMean(gamma=2.0, smoothing=0.5)(REWARDS, GROUPS, TASKS)
    plain = TaskMean(gamma=0.0)(REWARDS, GROUPS, TASKS)
    right, wrong = math.exp(1 / 3), math.exp(-1 / 3)
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, wrong, wrong, right], dtype=torch.float64)
    torch.testing.assert_close(found, plain * weights)


def test_a_group_far_below_its_task_passes_less_often_when_smoothed() -> None:
    # group 0 (0, .2) and group 1 (1, 1): task mean .55; at smoothing .5 the threshold of group 0 is
    # .325 and nobody passes: p = 0. At smoothing 1 it is .1, and one of two passes.
    rewards = torch.tensor([0.0, 0.2, 1.0, 1.0], dtype=torch.float64)
    groups, tasks = torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.long)
    own = TaskMean(smoothing=1.0)(rewards, groups, tasks)
    smoothed = TaskMean(smoothing=0.5)(rewards, groups, tasks)
    assert (smoothed / own)[:2].tolist() == pytest.approx([math.exp(-0.5), math.exp(0.5)])


def slow(rewards: list[float], groups: dict, tasks: dict, gamma: float, s: float) -> list[float]:
    found = [0.0] * len(rewards)
    for task_rows in tasks.values():
        own = [rows for rows in groups.values() if rows[0] in task_rows]
        values = [[rewards[row] for row in rows] for rows in own]
        scale = fmean(variance(v) if len(v) > 1 else 0.0 for v in values) ** 0.5
        level = fmean(map(fmean, values))
        for rows, v in zip(own, values, strict=True):
            bar = s * fmean(v) + (1 - s) * level
            p = sum(x > bar + 1e-6 for x in v) / len(v)
            for row, x in zip(rows, v, strict=True):
                exponent = gamma * (0.5 - p) if x > fmean(v) + 1e-6 else gamma * (p - 0.5)
                found[row] = (x - fmean(v)) / (scale + 1e-6) * math.exp(exponent)
    return found


def test_a_thousand_random_batches_agree_with_loops_over_plain_numbers() -> None:
    for rewards, groups, tasks in random_batches():
        expected = slow(rewards.tolist(), members(groups), members(tasks), 0.7, 0.8)
        found = TaskMean(gamma=0.7)(rewards, groups, tasks)
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("options", [{"gamma": -1.0}, {"gamma": math.inf}, {"smoothing": 1.1}])
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=r"^advantage\.(gamma|smoothing): expected"):
        TaskMean(**options)
