import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.scoring.regions import Mask, covers, crosses_odd, crosses_odd_unguarded

L_SHAPE = [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0), (1.0, 1.0), (1.0, 3.0), (0.0, 3.0)]
corner = st.integers(-3, 12)


@settings(max_examples=50, deadline=None)
@given(st.tuples(corner, corner, corner, corner), st.integers(0, 9), st.integers(0, 7))
def test_a_rectangle_of_pixels_is_half_open(box: tuple[int, int, int, int], x: int, y: int) -> None:
    mask = Mask.rectangle(9, 7, box)
    assert mask.has(x, y) == (box[0] <= x < box[2] and box[1] <= y < box[3] and x < 9 and y < 7)


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(corner, corner, corner, corner),
    st.lists(st.tuples(corner, corner, st.integers(0, 5), st.integers(0, 5)), max_size=4),
)
def test_the_share_of_areas_counts_pixels(
    box: tuple[int, int, int, int], corners: list[tuple[int, int, int, int]]
) -> None:
    mask = Mask.rectangle(9, 7, box)
    areas = [(x, y, x + w, y + h) for x, y, w, h in corners]
    pixels = [(x, y) for x0, y0, x1, y1 in areas for x in range(x0, x1) for y in range(y0, y1)]
    expected = sum(mask.has(x, y) for x, y in pixels) / len(pixels) if pixels else 0.0
    assert mask.share_of(areas) == pytest.approx(expected)


def test_rows_of_pixels_are_as_long_as_the_image_is_wide() -> None:
    mask = Mask.rectangle(5, 3, (1, 2, 3, 3))
    assert [mask.share_of([area]) for area in ((1, 2, 3, 3), (0, 1, 5, 3), (3, 0, 5, 3))] == [
        1.0,
        0.2,
        0.0,
    ]


def test_a_huge_area_is_counted_without_being_visited() -> None:
    assert Mask.rectangle(10, 10, (0, 0, 10, 10)).share_of(
        [(0, 0, 10**12, 10**12)]
    ) == pytest.approx(1e-22)


def test_a_share_of_one_is_outside() -> None:
    full = Mask.rectangle(4, 4, (0, 0, 4, 4))
    assert [
        full.has_share(point) for point in ((0.0, 0.0), (0.999, 0.999), (1.0, 0.5), (-0.001, 0.5))
    ] == [True, True, False, False]


def test_pixels_that_do_not_fit_the_size_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 x 2 pixels, got 3"):
        Mask(2, 2, b"\0\0\0")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(corner, corner), min_size=3, max_size=3), st.tuples(corner, corner))
def test_triangles_contain_what_lies_on_one_side_of_all_edges(
    triangle: list[tuple[int, int]], place: tuple[int, int]
) -> None:
    x, y = place[0] + 0.31, place[1] + 0.47  # on no edge between points of the grid
    pairs = zip(triangle, [*triangle[1:], triangle[0]], strict=True)
    sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in pairs]
    if any(abs(side) < 1e-6 for side in sides):
        return
    expected = all(side > 0 for side in sides) or all(side < 0 for side in sides)
    assert crosses_odd((x, y), triangle) == expected
    assert covers((x, y), triangle) == expected


@pytest.mark.parametrize(
    ("point", "inside"),
    [((0.5, 2.5), True), ((2.5, 0.5), True), ((2.0, 2.0), False), ((0.5, 0.5), True)],
)
def test_a_corner_cut_out_is_outside(point: tuple[float, float], inside: bool) -> None:
    assert crosses_odd(point, L_SHAPE) is inside
    assert covers(point, L_SHAPE) is inside


@pytest.mark.parametrize(
    "point", [(0.0, 1.5), (3.0, 0.5), (1.0, 2.0), (2.0, 1.0), (0.0, 0.0), (1.5, 0.0)]
)
def test_edges_and_corners_are_covered(point: tuple[float, float]) -> None:
    assert covers(point, L_SHAPE)


def test_vertical_edges_spoil_the_unguarded_rule_and_slanted_ones_do_not() -> None:
    upright = [(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)]
    leaning = [(0.40, 0.41), (0.60, 0.40), (0.61, 0.60), (0.41, 0.61)]
    assert [crosses_odd_unguarded((0.5, 0.5), polygon) for polygon in (upright, leaning)] == [
        False,
        True,
    ]
    assert not crosses_odd_unguarded((0.9, 0.5), leaning)


def test_pixels_outside_the_image_count_at_the_border() -> None:
    mask = Mask.rectangle(4, 3, (0, 0, 2, 2))
    rng = random.Random(0)
    for _ in range(50):
        x0, y0 = rng.randint(-6, 6), rng.randint(-6, 6)
        x1, y1 = x0 + rng.randint(1, 8), y0 + rng.randint(1, 8)
        expected = sum(
            mask.has(min(max(x, 0), 3), min(max(y, 0), 2))
            for x in range(x0, x1)
            for y in range(y0, y1)
        )
        assert mask.count_clipped((x0, y0, x1, y1)) == expected, (x0, y0, x1, y1)
