import pytest

from g2rpo.scoring.years import is_year, stated_year


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
