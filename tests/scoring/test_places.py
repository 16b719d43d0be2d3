import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.scoring.places import as_time, box_in, mapping_in, span_in, values_in

NUMBERS = st.tuples(*[st.integers(0, 1000)] * 4)
FORMS = (
    "[{}, {}, {}, {}]",
    '{{"boxes": [{}, {}, {}, {}]}}',
    "({},{}),({},{})",
    "[[{}, {}], [{}, {}]]",
    "so: {{'bbox': [[{}, {}, {}, {}]]}}!",
)


@given(NUMBERS, st.sampled_from(FORMS))
def test_every_notation_gives_the_box_with_its_corners_in_order(
    numbers: tuple[int, ...], form: str
) -> None:
    x0, y0, x1, y1 = numbers
    assert box_in(form.format(*numbers)) == (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def test_objects_go_before_lists_and_the_first_before_others() -> None:
    assert box_in('see [1, 2, 3, 4], then {"box": [5, 6, 7, 8]} and {"box": [1, 1, 2, 2]}') == (
        5,
        6,
        7,
        8,
    )
    assert list(values_in("(a) [1, 2] {3} ]")) == [[1, 2], {3}]
    assert mapping_in('[{"time": 1}]') == {"time": 1}
    assert mapping_in("{0: 5, 1: 6}") == {"0": 5, "1": 6}
    assert mapping_in("[1]") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2, 3]",
        "[1, 2, 3, null]",
        "[true, 1, 2, 3]",
        "(1, 2) and (3)",
        "1 2 3 4",
        '{"box": "small"}',
        "{}",
    ],
)
def test_what_is_no_box(text: str) -> None:
    assert box_in(text) is None


def test_times_are_seconds() -> None:
    assert [
        as_time(value) for value in (2, "2", "2.5 s", "01:02:03", "1:02.5", True, None, "1e3x", [2])
    ] == [
        2.0,
        2.0,
        2.5,
        3723.0,
        62.5,
        None,
        None,
        None,
        None,
    ]
    assert span_in("from 0:10 until 0:20") == (10, 20)
    assert span_in("it takes 5 s") is None


def test_hostile_texts_take_no_time() -> None:
    start = time.process_time()
    for text in (
        "[" * 100_000,
        "[]" * 50_000,
        '{"boxes": ' * 10_000,
        "(1,2)" * 20_000,
        "```" * 30_000,
        "<|" * 50_000,
        "9" * 100_000,
        "1:" * 50_000,
    ):
        span_in(text)
        box_in(text)
        mapping_in(text)
    assert time.process_time() - start < 5
