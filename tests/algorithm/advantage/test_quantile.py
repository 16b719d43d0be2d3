import math
from fractions import Fraction
from statistics import stdev

import pytest
import torch
from random_batches import members, random_batches

from g2rpo.algorithm.advantage.quantile import QuantileBaseline


def advantages(rewards: list[float], quantile: float) -> list[float]:
    one = torch.zeros(len(rewards), dtype=torch.long)
    values = torch.tensor(rewards, dtype=torch.float64)
    return QuantileBaseline(quantile=quantile)(values, one, one).tolist()


def test_hard_prompts_reinforce_successes_alone_and_easy_ones_push_down_failures_alone() -> None:
    # K = .4: the baseline is 0 up to p = .6 and 1 beyond
    deviation = stdev([1, 0, 0, 0, 0])
    hard = [1 / deviation, 0, 0, 0, 0]
    assert advantages([1.0, 0.0, 0.0, 0.0, 0.0], 0.4) == pytest.approx(hard, abs=1e-5)
    easy = [0, 0, 0, 0, -1 / deviation]
    assert advantages([1.0, 1.0, 1.0, 1.0, 0.0], 0.4) == pytest.approx(easy, abs=1e-5)
    edge = 1 / stdev([1, 1, 1, 0, 0])
    expected = [edge, edge, edge, 0, 0]
    assert advantages([1.0, 1.0, 1.0, 0.0, 0.0], 0.4) == pytest.approx(expected, abs=1e-5)


def test_a_graded_group_by_hand() -> None:
    # sorted 0, 1, 2, 5: the smallest with at least half at or below it is 1; std sqrt(14 / 3)
    std = math.sqrt(14 / 3)
    expected = [4 / std, -1 / std, 1 / std, 0]
    assert advantages([5.0, 0.0, 2.0, 1.0], 0.5) == pytest.approx(expected, abs=1e-5)


def test_groups_of_one_and_of_equal_rewards_get_nothing() -> None:
    assert advantages([0.3], 0.4) == [0.0]
    assert advantages([0.1, 0.1, 0.1], 0.4) == [0.0, 0.0, 0.0]


def test_a_thousand_random_batches_agree_with_loops_over_plain_numbers() -> None:
    for number, (rewards, groups, tasks) in enumerate(random_batches()):
        share = Fraction(1 + number % 10, 10)
        values = rewards.tolist()
        expected = [0.0] * len(values)
        for rows in members(groups).values():
            own = sorted(values[row] for row in rows)
            reached = (x for x in own if Fraction(sum(y <= x for y in own), len(own)) >= share)
            baseline = next(reached)
            for row in rows:
                spread = stdev(own) if len(own) > 1 else 0.0
                expected[row] = (values[row] - baseline) / (spread + 1e-6)
        found = QuantileBaseline(quantile=float(share))(rewards, groups, tasks)
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("quantile", [0.0, 1.1])
def test_a_share_out_of_range_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match=r"^advantage\.quantile: expected a share in \(0, 1\]"):
        QuantileBaseline(quantile=quantile)
