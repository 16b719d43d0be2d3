import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.scoring.boxes import box_iou, frame_iou, point_similarity, read_points, shared_frame_iou
from g2rpo.scoring.extract import finite_numbers

corner = st.integers(0, 12)
boxes = st.tuples(corner, corner, corner, corner).map(list)


@settings(max_examples=50, deadline=None)
@given(boxes, boxes)
def test_iou_counts_grid_cells(first: list[int], second: list[int]) -> None:
    def cells(box: list[int]) -> set[tuple[int, int]]:
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    one, other = cells(first), cells(second)
    expected = len(one & other) / len(one | other) if one | other else 0.0
    assert box_iou(first, second) == pytest.approx(expected)


def test_iou_of_a_shifted_box_by_hand() -> None:
    # shared 190 x 190, together 2 x 40000 - 36100
    assert box_iou([110, 90, 310, 290], [100, 100, 300, 300]) == pytest.approx(36100 / 43900)


@pytest.mark.parametrize(
    "box",
    [
        None,
        "box",
        {},
        [],
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [[1, 2, 3, 4]],
        [1, 2, 3, None],
        [1, 2, 3, "x"],
        [1, 2, 3, [4]],
        [0, 0, math.nan, 10],
        [-math.inf, 0, 10, 10],
        [0, 0, 10, 10**400],
    ],
)
def test_what_is_not_a_box_overlaps_nothing(box: object) -> None:
    assert finite_numbers(box, 4) is None
    assert box_iou(box, [0, 0, 10, 10]) == 0.0
    assert box_iou([0, 0, 10, 10], box) == 0.0


def test_numbers_in_quotes_are_read() -> None:
    assert box_iou(["0", 0, " 10 ", 5.0], [0, 0, 10, 10]) == pytest.approx(0.5)


def test_swapped_corners_and_flat_boxes_have_no_area() -> None:
    assert box_iou([10, 10, 0, 0], [0, 0, 10, 10]) == 0.0
    assert box_iou([0, 0, 0, 10], [0, 0, 0, 10]) == 0.0


def test_frames_missing_from_a_track_count_zero_and_extra_ones_nothing() -> None:
    gold = {"0": [0, 0, 10, 10], "5": [0, 0, 10, 10], "9": [0, 0, 10, 10]}
    found = {"0": [0, 0, 10, 10], "5": [0, 0, 5, 10], "77": [0, 0, 10, 10]}
    assert frame_iou(found, gold) == pytest.approx((1 + 0.5 + 0) / 3)
    assert shared_frame_iou(found, gold) == pytest.approx((1 + 0.5) / 2)
    assert shared_frame_iou({"77": [0, 0, 10, 10]}, gold) == 0.0
    assert shared_frame_iou({"0": "x", "5": [0, 0, 10, 10]}, gold) == pytest.approx(0.5)


def test_points_are_matched_in_the_best_order() -> None:
    gold = [(0.0, 0.0), (100.0, 0.0), (0.0, 30.0)]
    moved = [
        (0.0, 33.0),
        (3.0, 4.0),
        (100.0, 7.0),
    ]  # distances 3, 5 and 7 in the best order: mean 5
    assert point_similarity(moved, gold) == pytest.approx(math.exp(-25 / 5000))
    assert point_similarity(moved, gold, sigma=5.0) == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[1, 2], [3, 4]],
        [[1, 2]] * 4,
        [[1, 2], [3, 4], [5]],
        [[1, 2], [3, 4], [5, "x"]],
        "abc",
    ],
)
def test_points_come_in_threes(value: object) -> None:
    assert read_points(value) is None
