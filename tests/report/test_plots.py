"""The parts of a plot: scales, ticks, averages."""

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.report.palette import TASK_COLORS
from g2rpo.report.plots import Line, densities, line_plot
from g2rpo.report.smooth import bucket_size, bucketed, running_mean, window_size
from g2rpo.report.svg import Key, Scale, legend, rounded_range, ticks

numbers = st.floats(-1e6, 1e6)


def test_a_scale_maps_its_ends_and_stops_there() -> None:
    scale = Scale(2.0, 6.0, 100.0, 20.0)
    assert [scale.px(value) for value in (2.0, 3.0, 6.0, 9.0, -1.0)] == [100.0, 80.0, 20.0, 20.0, 100.0]


@given(st.tuples(numbers, numbers).filter(lambda ends: abs(ends[1] - ends[0]) > 1e-3))
@settings(max_examples=50, deadline=None)
def test_ticks_are_few_and_evenly_spaced_inside_the_range(ends: tuple[float, float]) -> None:
    low, high = sorted(ends)
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    slack = (high - low) * 1e-6
    assert low - slack <= found[0] < found[-1] <= high + slack
    gaps = [b - a for a, b in pairwise(found)]
    assert max(gaps) - min(gaps) <= slack


@given(st.lists(numbers, max_size=20), st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_range_of_an_axis_holds_all_values(values: list[float], keep_zero: bool) -> None:
    low, high = rounded_range([*values, math.nan], keep_zero=keep_zero)
    assert low < high
    slack = (high - low) * 1e-6
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
    assert (found[0], found[12], found[-1]) == (1.0, 2.0, 1.0)  # a quarter of the values in a bin of width 0.25 is density 1


def test_a_curve_with_a_gap_is_two_lines() -> None:
    line = Line(name="math", color="#000000", steps=[1, 2, 3, 4], values=[0.1, math.nan, 0.3, 0.4])
    drawn = line_plot(title="t", unit="u", lines=[line]).split('<path class="mean" d="')[1].split('"')[0]
    assert drawn.count("M") == 2
    assert drawn.count("L") == 1


def test_a_curve_of_one_step_is_drawn() -> None:
    drawn = line_plot(title="t", unit="u", lines=[Line(name="math", color="#000000", steps=[7], values=[0.4])])
    assert drawn.count("h0") == 1
    assert "nan" not in drawn


def test_a_legend_wraps_instead_of_running_out_of_the_plot() -> None:
    _, one_row = legend([Key("mean", "#000")], y=0, width=200)
    drawn, two_rows = legend([Key("general_vqa", "#000"), Key("document", "#000"), Key("grounding", "#000")], y=0, width=250)
    assert two_rows == 2 * one_row
    assert "grounding" in drawn


def test_each_task_has_a_colour_of_its_own() -> None:
    assert len(set(TASK_COLORS.values())) == 6
