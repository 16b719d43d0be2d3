"""Numbers by scipy, or by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from g2rpo.report.sweep.statistics import difference, spread, student


def test_spread_is_that_of_numpy_and_leaves_out_what_is_missing() -> None:
    values = [0.71, 0.68, 0.74, 0.69]
    own = spread([*values, math.nan])
    assert (own.mean, own.std, own.n) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
        4,
    )
    assert math.isnan(spread([0.5]).std)
    assert math.isnan(spread([]).mean)


@pytest.mark.parametrize("freedom", [1, 2, 9, 30, 31, 80])
def test_the_point_of_student_is_that_of_scipy(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=6e-4)


def test_a_difference_pairs_equal_seeds_and_its_interval_is_that_of_a_paired_t_test() -> None:
    own, other = {"2": 0.75, "0": 0.71, "1": 0.70}, {"0": 0.69, "1": 0.70, "2": 0.71, "7": 0.1}
    won = difference(own, other)
    test = stats.ttest_rel([0.71, 0.70, 0.75], [0.69, 0.70, 0.71]).confidence_interval(0.95)
    assert won.n == 3
    assert (won.mean - won.half, won.mean + won.half) == pytest.approx(
        (test.low, test.high), abs=1e-4
    )


def test_one_pair_has_a_difference_and_no_interval() -> None:
    won = difference({"0": 0.5, "1": 0.9}, {"0": 0.25})
    assert (won.mean, won.n) == (0.25, 1)
    assert math.isnan(won.half)
