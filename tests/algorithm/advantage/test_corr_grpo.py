import math
from random import Random
from statistics import correlation, fmean

import pytest
import torch
from random_batches import members, random_batches, random_parts

from g2rpo.algorithm.advantage.corr_grpo import CorrGRPO


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_scale_of_a_part_does_not_matter_but_its_correlation_does_by_hand() -> None:
    # Deviations of a (0, 0, 3): (-1, -1, 2); of b (0, 200, 100): (-100, 100, 0).
    # rho = (100 - 100 + 0) / ... = 0, so the sum over both is 2. Totals 2, 4, 9: mean 5.
    groups = torch.tensor([4, 4, 4])
    parts = {"a": doubles(0, 0, 3), "b": doubles(0, 200, 100)}
    found = CorrGRPO()(doubles(2, 4, 9), groups, groups, parts=parts)
    assert found.tolist() == pytest.approx([x / math.sqrt(2) for x in (-3, -1, 4)], abs=1e-5)


def test_parts_that_agree_shrink_the_advantage_and_a_constant_part_counts_nothing() -> None:
    # group 0: b = 2 a + 1, so rho = 1 and the sum is 4; group 1: b is constant, and the sum is 1
    groups = torch.tensor([0, 1, 0, 1])
    parts = {"a": doubles(0, 1, 1, 3), "b": doubles(1, 0.7, 3, 0.7)}
    found = CorrGRPO()(doubles(1, 1, 4, 3), groups, groups, parts=parts)
    assert found.tolist() == pytest.approx([-0.75, -1, 0.75, 1], abs=1e-5)


def test_opposed_parts_raise_it_a_thousandfold() -> None:
    groups = torch.zeros(2, dtype=torch.long)
    parts = {"a": doubles(0, 1), "b": doubles(0.5, 0)}
    found = CorrGRPO()(doubles(0.5, 1), groups, groups, parts=parts)
    assert found.tolist() == pytest.approx([-250, 250])


def test_rewards_that_differ_while_no_part_does_give_exactly_zero() -> None:
    groups = torch.zeros(3, dtype=torch.long)
    found = CorrGRPO()(doubles(0.1, 0.2, 0.4), groups, groups, parts={"a": doubles(0.7, 0.7, 0.7)})
    assert found.tolist() == [0.0] * 3


def slow(rewards: list[float], parts: dict, groups: dict) -> list[float]:
    found = [0.0] * len(rewards)
    for rows in groups.values():
        columns = []
        for values in parts.values():
            own = [values[row] for row in rows]
            level = fmean([x for x in own if not math.isnan(x)] or [0.0])
            columns.append([level if math.isnan(x) else x for x in own])
        total, varies = 0.0, False
        for first in columns:
            for second in columns:
                if len(rows) > 1 and max(first) - min(first) > 1e-6:
                    varies = True
                    if max(second) - min(second) > 1e-6:
                        total += correlation(first, second)
        level = fmean(rewards[row] for row in rows)
        for row in rows:
            if varies:
                found[row] = (rewards[row] - level) / math.sqrt(total + 1e-6)
    return found


def test_a_thousand_random_batches_agree_with_pairwise_correlations() -> None:
    rng = Random(6)
    for rewards, groups, tasks in random_batches():
        parts = random_parts(rewards, rng)
        totals = sum(values.nan_to_num() for values in parts.values())
        plain = {name: values.tolist() for name, values in parts.items()}
        expected = slow(totals.tolist(), plain, members(groups))
        found = CorrGRPO()(totals, groups, tasks, parts=parts)
        assert found.tolist() == pytest.approx(expected, abs=1e-6, rel=1e-6)
