"""Figures as plotly.js gets them: the right numbers, and nothing that is no JSON."""

import json
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.data.gym.source import TASKS
from g2rpo.report.plots import Band, Line, densities, gains, line_plot, task_palette
from g2rpo.report.smooth import bucket_size, bucketed, running_mean, window_size

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=1, max_size=20), st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_axis_holds_all_values(values: list[float], keep_zero: bool) -> None:
    line = Line(
        name="math", color="#000000", steps=list(range(len(values) + 1)), values=[*values, math.nan]
    )
    low, high = line_plot("t", "u", [line], keep_zero=keep_zero).spec["layout"]["yaxis"]["range"]
    assert low < high
    slack = 1e-4 * max(1.0, *map(abs, values))  # five digits are written
    assert all(low - slack <= value <= high + slack for value in values + [0.0] * keep_zero)


def test_the_running_mean_skips_missing_values_and_leaves_their_gap() -> None:
    smooth = running_mean([1.0, math.nan, 4.0, 10.0], 3)
    assert smooth[0] == 1.0
    assert math.isnan(smooth[1])
    assert smooth[2:] == [7.0, 7.0]


def test_long_curves_are_drawn_with_few_points_whose_mean_is_that_of_the_curve() -> None:
    values = [math.sin(i / 50) for i in range(3000)]
    points = bucketed(values, bucket_size(len(values)))
    assert len(points) == 300
    assert statistics.mean(points) == pytest.approx(statistics.mean(values))


def test_the_window_is_odd_and_grows_with_the_curve() -> None:
    assert [window_size(count) for count in (1, 29, 30, 120, 300)] == [1, 1, 3, 9, 21]


def test_densities_add_up_to_one_and_keep_what_lies_outside() -> None:
    found = densities([-7.0, 0.1, 0.2, 3.0, math.nan])
    assert sum(found) * 0.25 == pytest.approx(1.0)
    assert (found[0], found[12], found[-1]) == (
        1.0,
        2.0,
        1.0,
    )  # a quarter of the values in a bin of width 0.25 is density 1


def test_a_curve_with_a_gap_is_two_lines_and_valid_json() -> None:
    line = Line(name="math", color="#000000", steps=[1, 2, 3, 4], values=[0.1, math.nan, 0.3, 0.4])
    _, drawn = line_plot("t", "u", [line]).spec["data"]
    assert drawn["y"] == drawn["customdata"] == [0.1, None, 0.3, 0.4]
    json.dumps(line_plot("t", "u", [line]).spec, allow_nan=False)


def test_a_curve_of_one_step_is_drawn_as_a_point() -> None:
    _, drawn = line_plot(
        "t", "u", [Line(name="math", color="#000000", steps=[7], values=[0.4])]
    ).spec["data"]
    assert (drawn["mode"], drawn["x"], drawn["y"]) == ("lines+markers", [7], [0.4])


def test_bands_are_cut_off_at_the_frame_and_left_out_beyond_it() -> None:
    line = Line(name="math", color="#000000", steps=[1, 2], values=[0.0, 1.0])
    bands = [Band(name="a", low=0.5, high=math.inf), Band(name="b", low=7, high=9)]
    (shape,) = line_plot("t", "u", [line], bands=bands, y_range=(0, 1)).spec["layout"]["shapes"]
    assert (shape["y0"], shape["y1"], shape["label"]["text"]) == (0.5, 1, "a")


def test_gains_have_a_bar_where_an_interval_is_known() -> None:
    seeds, means = gains("t", {"a": (0.1, 0.02, [0.09, 0.11]), "b": (0.3, math.nan, [0.3])}).spec[
        "data"
    ]
    assert (seeds["x"], seeds["y"]) == ([0.09, 0.11, 0.3], ["a", "a", "b"])
    assert (means["x"], means["error_x"]["array"]) == ([0.1, 0.3], [0.02, None])


def test_each_task_has_a_color_of_its_own() -> None:
    assert len(set(task_palette(TASKS).values())) == 6
