import pytest

from g2rpo.scoring.expression.number_words import spoken_number, with_digits


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("nineteen", 19),
        ("forty two", 42),
        ("three hundred", 300),
        ("two thousand three hundred and one", 2301),
        ("one million", 10**6),
        ("two three", None),
        ("twenty eleven", None),
        ("hundred", None),
        ("and", None),
        ("three and", None),
        ("thousand million", None),
        ("five cats", None),
        ("3", None),
    ],
)
def test_the_number_that_words_say(text: str, number: int | None) -> None:
    assert spoken_number(text) == number


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("There are thirty-one days.", "There are 31 days."),
        ("two or three", "2 or 3"),
        ("one third of it", "(1/3) of it"),
        ("3 quarters", "(3/4)"),
        ("7.5 billion people", "7.5e9 people"),
        ("anyone often weighed", "anyone often weighed"),
        (r"\ten", r"\ten"),
    ],
)
def test_words_become_digits_where_they_stand(text: str, written: str) -> None:
    assert with_digits(text) == written
