import time

import pytest

from g2rpo.scoring.amounts import Amount, read_amount
from g2rpo.scoring.amounts import stated_amount as amount_in
from g2rpo.scoring.chart import is_year, same_chart_answer, stated_year


@pytest.mark.parametrize(
    ("text", "value", "scale", "percent"),
    [
        ("1,234.5", 1234.5, 1, False),
        ("-$1,234", -1234, 1, False),
        ("$-5", -5, 1, False),
        ("12.5 million", 12.5, 1e6, False),
        ("3k", 3, 1e3, False),
        ("7 %", 7, 1, True),
        ("7 percent", 7, 1, True),
        ("1.5 x 10^3", 1500, 1, False),
        ("2e-3", 0.002, 1, False),
        ("3/4", 0.75, 1, False),
        ("Twenty-one", 21, 1, False),
        ("14 square km.", 14, 1, False),
    ],
)
def test_an_amount_is_read_with_its_scale_and_percent_sign(
    text: str, value: float, scale: float, percent: bool
) -> None:
    assert read_amount(text) == Amount(value, scale, percent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Q1",
        "12:30",
        "3:1",
        "45-50",
        "45 to 50",
        "1,2,3",
        "3,5",
        "1e999",
        "1/0",
        "1990s",
        "5 6",
        "v2.1.3",
        "x5",
    ],
)
def test_what_is_more_than_one_amount_is_none(text: str) -> None:
    assert read_amount(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It was 45 in 2015 and nothing else", 45),
        ("about 45 dogs", 45),
        ("In 2015", 2015),
        ("30 + 15 = 45", 45),
        ("40 or 45", None),
        ("maybe 45", None),
        ("between 40 and 45", None),
        ("40, 45", None),
        ("none", 0),
    ],
)
def test_one_amount_is_taken_out_of_words_and_of_several_none(
    text: str, value: float | None
) -> None:
    found = amount_in(text)
    assert (None if found is None else found.value) == value


def test_the_tolerance_is_relative_to_the_gold_answer_and_its_bound_is_included() -> None:
    assert [same_chart_answer(answer, "100") for answer in ("95", "105", "94.9", "105.1")] == [
        True,
        True,
        False,
        False,
    ]
    assert [same_chart_answer(answer, "-20", 0.1) for answer in ("-18", "-22", "-17.9", "18")] == [
        True,
        True,
        False,
        False,
    ]
    assert same_chart_answer(
        "0.3", "0.1", 2.0
    )  # 2 * 0.1 is a little less than 0.3 - 0.1 in floating point
    assert not same_chart_answer("0.0001", "0", 1.0)


def test_years_are_exact_and_other_numbers_of_four_digits_are_not() -> None:
    assert [
        same_chart_answer(answer, "2010")
        for answer in ("2010", "in 2010", "2010.0", "2009", "2011", "2%")
    ] == [True] * 3 + [False] * 3
    assert [same_chart_answer("3010", gold) for gold in ("3000", "2,990", "2990 km")] == [True] * 3
    assert same_chart_answer("1,990", "2,000")  # with a comma it counts something


def test_hostile_texts_take_no_time() -> None:
    start = time.process_time()
    for text in (
        "9" * 100_000,
        "1," * 50_000,
        "is " * 30_000,
        "(" * 100_000,
        "one " * 25_000,
        "1 - " * 25_000,
        " " * 100_000,
    ):
        for gold in ("14", "red", "Yes", "[a, b]"):
            assert not same_chart_answer(text, gold)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1953", 1953),
        ("The highest value, 30, was in 2015.", 2015),
        ("2015 had the highest value of 30, more than any in 2015.", 2015),
        ("**In 2015**, with 30%", 2015),
        ("between 2014 and 2015", None),
        ("2014-2015", None),
        ("2014–15", None),
        ("in 2015, not in 2014", 2015),
        ("It was not in 2015.", None),
        ("I cannot tell whether it was 2015.", None),
        ("maybe 2015", None),
        ("2015.5 or 1,953 or 12015 or 2015% or Q2015 or 953", None),
    ],
)
def test_the_one_year_that_a_sentence_mentions(text: str, year: int | None) -> None:
    assert stated_year(text) == year


def test_what_is_a_year() -> None:
    assert [is_year(text) for text in ("1600", "2100", "1599", "2101", "20.5", "")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_of_several_years_the_one_of_an_extreme_counts() -> None:
    assert stated_year("Sales were highest in 1953, and fell until 1960.") == 1953
    assert stated_year("It peaked in 1953 and in 1960 it was lowest in 1960.") is None
    assert stated_year("From 1953 to 1960 it grew.") is None
