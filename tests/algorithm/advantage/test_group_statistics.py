import pytest
import torch
from scipy.stats import kstest

from g2rpo.algorithm.advantage.group_statistics import advantage_metrics, normal_distance
from g2rpo.metrics import checked

# math (1): groups 7 and 3, six rows; chart (2): groups 5, 6 and 8, seven rows; rows are mixed on
# purpose
TASKS = torch.tensor([1, 2, 1, 1, 2, 2, 1, 1, 2, 1, 2, 2, 2])
NAMES = ("general_vqa", "math", "chart")
GROUPS = torch.tensor([7, 5, 7, 3, 5, 6, 3, 3, 6, 3, 6, 6, 8])
TOTALS = torch.tensor([1.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
SHAPED = TOTALS + 0.1 * torch.tensor([0.0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0])
ADVANTAGES = torch.tensor([0.0, 9, 0, 1, 9, 9, -1, 2, 9, -1, 9, 9, 9])


def test_numbers_by_hand() -> None:
    row = advantage_metrics(ADVANTAGES, SHAPED, TOTALS, GROUPS, TASKS, NAMES)
    # math: advantages 0 0 1 -1 2 -1, mean 1/6, variance 7/6 - 1/36
    assert row["advantage/mean/math"] == pytest.approx(1 / 6)
    assert row["advantage/std/math"] == pytest.approx((7 / 6 - 1 / 36) ** 0.5)
    # ties of the shaped reward: group 7 has 1 1; group 3 has 1 0 1.1 0 -> 4 of 6
    # group 5 has .6 .6; group 6 has 0 0 .1 0; group 8 has one row -> 5 of 7
    assert row["advantage/tie_frac/math"] == pytest.approx(4 / 6)
    assert row["advantage/tie_frac/chart"] == pytest.approx(5 / 7)
    # group 7 agrees, group 3 does not; of the three chart groups 5 and 8 agree
    assert row["advantage/zero_signal_frac/math"] == pytest.approx(1 / 2)
    assert row["advantage/zero_signal_frac/chart"] == pytest.approx(2 / 3)
    # group 6 differs only by its length part; group 3 differs anyway
    assert row["advantage/shaping_only_frac/math"] == 0
    assert row["advantage/shaping_only_frac/chart"] == pytest.approx(1 / 3)


def test_every_number_is_declared_and_absent_tasks_have_none() -> None:
    row = advantage_metrics(ADVANTAGES, SHAPED, TOTALS, GROUPS, TASKS, NAMES)
    assert len(checked(row)) == 12
    assert {name.rpartition("/")[2] for name in row} == {"math", "chart"}


@pytest.mark.parametrize(
    "values", [[0.0], [0.0, 0.0, 3.0], [-2.0, 0.4, 0.4, 1.1, 0.9], [5.0, 6.0], [-7.0, -0.2, -6.0]]
)
def test_scipy_measures_the_same_distance_to_the_normal_distribution(values: list[float]) -> None:
    assert normal_distance(torch.tensor(values)) == pytest.approx(
        kstest(values, "norm").statistic, abs=1e-7
    )
