import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from torch import Tensor

from g2rpo.algorithm.advantage.group_statistics import TieLevels, gaussian_ranks


def ranks(values: list[float], atol: float = 1e-6) -> Tensor:
    return gaussian_ranks(
        torch.tensor(values, dtype=torch.float64), torch.zeros(len(values), dtype=torch.long), atol
    )


def close(actual: Tensor, expected: list[float], atol: float = 1e-4) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64), atol=atol, rtol=0
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    # the worked examples of the paper, four decimals by hand from the table of the normal
    # distribution
    [
        ([0, 0, 0, 0, 1], [-0.3204, -0.3204, -0.3204, -0.3204, 1.2816]),
        ([0.1, 0.1, 0.1, 0.2, 1], [-0.6020, -0.6020, -0.6020, 0.5244, 1.2816]),
        ([0, 0, 1, 1, 1], [-0.9030, -0.9030, 0.6020, 0.6020, 0.6020]),
        ([0.81, 0.81, 0.82, 0.82, 0.83], [-0.9030, -0.9030, 0.2622, 0.2622, 1.2816]),
        ([0, 0, 1], [-0.4837, -0.4837, 0.9674]),
        ([5], [0]),
        ([], []),
    ],
)
def test_worked_examples(values: list[float], expected: list[float]) -> None:
    close(ranks([float(value) for value in values]), [float(value) for value in expected])


@pytest.mark.parametrize("n", range(1, 40))
def test_all_values_tied_give_exactly_zero(n: int) -> None:
    assert ranks([0.3] * n).tolist() == [0.0] * n


def by_scipy(values: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Mean over the ordinal ranks that a tied value would have held, segment by segment."""
    out = np.zeros(len(values))
    for segment in np.unique(segments):
        own = values[segments == segment]
        quantiles = norm.ppf((rankdata(own, "ordinal") - 0.5) / len(own))
        out[segments == segment] = [quantiles[own == value].mean() for value in own]
    return out


rows = st.lists(
    st.tuples(st.integers(-3, 3), st.sampled_from([-5, 0, 2, 10**15])), min_size=1, max_size=40
)


@settings(max_examples=50, deadline=None)
@given(rows, st.sampled_from([0.0, 1e-6]))
def test_scipy_ranks_each_segment_the_same(cells: list[tuple[int, int]], atol: float) -> None:
    # labels up to 10^15 and atol = 0 take the two sorts, the others the single one
    values, segments = np.array([v / 4 for v, _ in cells]), np.array([s for _, s in cells])
    actual = gaussian_ranks(torch.tensor(values), torch.tensor(segments), atol)
    np.testing.assert_allclose(actual.numpy(), by_scipy(values, segments), atol=1e-9)


@pytest.mark.parametrize(
    "labels", [[3, 1, 3, 1, 3], [3 * 10**14, 10**14, 3 * 10**14, 10**14, 3 * 10**14]]
)
def test_segments_are_ranked_apart_and_stay_in_their_rows(labels: list[int]) -> None:
    actual = gaussian_ranks(torch.tensor([9.0, 0.0, 7.0, 5.0, 8.0]), torch.tensor(labels))
    close(actual, [0.9674, -0.6745, -0.9674, 0.6745, 0.0])


def test_a_new_level_starts_where_the_gap_to_the_previous_value_exceeds_the_tolerance() -> None:
    # links of 0.9e-6 chain 0 and 1.8e-6 into one level; 3e-6 is 1.2e-6 away from the last
    close(ranks([1.8e-6, 0.0, 0.9e-6, 3e-6]), [-0.3834, -0.3834, -0.3834, 1.1503])
    close(ranks([1.8e-6, 0.0, 0.9e-6, 3e-6], atol=1e-7), [0.3186, -1.1503, -0.3186, 1.1503])


def test_a_difference_of_the_tolerance_is_a_tie_in_either_precision() -> None:
    for dtype in (torch.float32, torch.float64):
        pair = torch.tensor([0.5, 0.5 + 1e-6], dtype=dtype)
        assert gaussian_ranks(pair, torch.zeros(2, dtype=torch.long)).tolist() == [0.0, 0.0]


def test_a_tolerance_of_zero_tells_any_two_floats_apart() -> None:
    close(ranks([1e-12, 0.0, 2e-12], atol=0.0), [0.0, -0.9674, 0.9674])


def test_huge_rewards_do_not_hide_small_ones_of_another_segment() -> None:
    # segment * width + value, with a width of 1e17, would round the thousandths away
    actual = gaussian_ranks(
        torch.tensor([1e17, 5.0, 3e-3, 2e-3, 1e-3], dtype=torch.float64),
        torch.tensor([4, 4, 7, 7, 7]),
    )
    close(actual, [0.6745, -0.6745, 0.9674, 0.0, -0.9674])


def test_ties_counts_the_rows_of_a_level_within_its_segment() -> None:
    levels = TieLevels(
        torch.tensor([1.0, 0.0, 1.0, 1.0, 2.0, 1.0]), torch.tensor([4, 4, 4, 9, 9, 4]), atol=1e-6
    )
    assert levels.ties().tolist() == [3, 1, 3, 1, 1, 3]


def test_differs_is_false_only_where_a_whole_segment_ties() -> None:
    levels = TieLevels(
        torch.tensor([1.0, 0.0, 2.0, 1.0, 2.0, 5.0]), torch.tensor([4, 4, 9, 4, 9, 0]), atol=1e-6
    )
    assert levels.differs().tolist() == [True, True, False, True, False, False]


def test_labels_further_apart_than_a_difference_can_hold_are_ranked_apart() -> None:
    first = -torch.iinfo(torch.int64).max
    values = torch.tensor([1.0, 4.0, 2.0, 3.0])
    found = gaussian_ranks(values, torch.tensor([first, 5, first, 5]))
    assert found.tolist() == gaussian_ranks(values, torch.tensor([0, 1, 0, 1])).tolist()
    assert found[1] > 0 > found[3]
