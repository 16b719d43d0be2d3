import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.scoring.spans import moment_similarity, read_moment, span_iou

seconds = st.integers(0, 20)
spans = st.tuples(seconds, seconds).map(list)


@settings(max_examples=50, deadline=None)
@given(spans, spans)
def test_iou_counts_seconds(first: list[int], second: list[int]) -> None:
    one, other = set(range(*first)), set(range(*second))
    expected = len(one & other) / len(one | other) if one & other else 0.0
    assert span_iou(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    "span",
    [None, [3.0], [1, 2, 3], "2-8", ["a", "b"], [math.nan, 8], [2, math.inf], [8, 2], [4, 4]],
)
def test_what_is_not_a_stretch_of_time_overlaps_nothing(span: object) -> None:
    assert span_iou(span, [2, 8]) == 0.0


def test_moments_fade_with_distance_in_either_direction() -> None:
    assert moment_similarity(3.0, 3.0) == 1.0
    assert (
        moment_similarity(6.0, 3.0) == moment_similarity(0.0, 3.0) == pytest.approx(math.exp(-1.5))
    )
    assert moment_similarity(6.0, 3.0, decay_s=3.0) == pytest.approx(math.exp(-1))


@pytest.mark.parametrize("value", [None, "2", [2], math.nan, math.inf, 10**400])
def test_a_moment_is_a_finite_number(value: object) -> None:
    assert read_moment(value) is None
