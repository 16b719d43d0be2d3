"""Answers that are decided before the parser get the verdict that the parser gives."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g2rpo.scoring import boxes, chart
from g2rpo.scoring.boxes import first_box
from g2rpo.scoring.chart import same_chart_answer
from g2rpo.scoring.expression import answer as expression
from g2rpo.scoring.expression import read_quantity, same_number

NEVER = re.compile("(?!)")
NUMBERS = st.one_of(
    st.integers(-3000, 3000).map(str),
    st.decimals(-30, 30, places=2).map(str),
    st.decimals(-1, 1, places=4).map(str),
    st.sampled_from(
        ("0", "-0", "00", "007", "1,234", "12.", ".5", "2010", "2011", "1e3", "9" * 16)
    ),
)
WORDS = st.sampled_from(
    (
        *("the", "red", "crosses", "is", "x", "a", "I", "it", "so", "hence", "not", "minus", "pi"),
        *("three", "hundred", "and", "or", "half", "cm", "of", "to", "%", "all", "real", "numbers"),
        *(
            "answer",
            "because",
            "which",
            "no,",
            "wait.",
            "3",
            "4.5",
            "7,",
            "12.",
            "=",
            "-",
            "+",
            "e",
            "No.",
        ),
    )
)
SENTENCES = st.builds(
    lambda words, joint, number, end: f"{' '.join(words)}{joint}{number}{end}",
    st.lists(WORDS, max_size=7),
    st.sampled_from(("so it is ", " so it is ", ". so it is ", ", so it is ", ". So it is ", " ")),
    NUMBERS,
    st.sampled_from(("", ".", " cm", "%")),
)
CORNERS = st.lists(NUMBERS, min_size=3, max_size=5)
BOXES = st.builds(
    lambda before, key, corners, after: f'{before}{{"{key}": [{", ".join(corners)}]}}{after}',
    st.sampled_from(("", "so it is ", "square 1 3. ", "[1, 2] ", "x = ", "```json\n", "-", "(")),
    st.sampled_from(("boxes", "bbox_2d", "box")),
    CORNERS,
    st.sampled_from(("", ".", ",", " is it", "\n```", "}", '{"boxes": [1, 2, 3, 4]}')),
)


@example("the answer is 7. so it is 3", "3")
@given(st.one_of(SENTENCES, NUMBERS), NUMBERS)
def test_a_plain_number_reads_as_the_parser_reads_it(answer: str, gold: str) -> None:
    fast = read_quantity(answer), same_number(answer, gold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expression, "_plain", lambda text: None)
        assert (read_quantity(answer), same_number(answer, gold)) == fast


@given(NUMBERS, NUMBERS, st.sampled_from((0.0, 0.05, 0.3)))
def test_plain_chart_answers_are_judged_as_amounts_are(
    answer: str, gold: str, tolerance: float
) -> None:
    fast = same_chart_answer(answer, gold, tolerance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chart, "_PLAIN", NEVER)
        assert same_chart_answer(answer, gold, tolerance) == fast


@example('so it is {"boxes": [5, 6, 1, 2]}')
@given(BOXES)
def test_one_box_among_words_is_the_box_that_the_search_finds(text: str) -> None:
    fast = first_box(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boxes, "_ALONE", NEVER)
        assert first_box(text) == fast


def test_the_parser_is_not_asked_about_plain_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def parser(*_: object) -> None:
        raise AssertionError("the parser was asked")

    monkeypatch.setattr(expression, "_read", parser)
    monkeypatch.setattr(chart, "stated_amount", parser)
    monkeypatch.setattr(boxes, "box_in", parser)
    assert same_number("2 crosses, 1 square. so it is 3", "3")
    assert not same_number("2 crosses. so it is 2", "3")
    assert same_chart_answer("14.7", "14")
    assert not same_chart_answer("2011", "2010")
    assert first_box('blue square 1 3. so it is {"boxes": [31, 500, 250, 719]}') == (
        31.0,
        500.0,
        250.0,
        719.0,
    )
