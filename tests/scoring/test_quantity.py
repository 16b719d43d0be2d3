import pytest

from g2rpo.scoring.quantity import exact_number, numbers, same_value, same_words


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("$40,000", 40000),
        ("1e+06", 1000000.0),
        (r"10^{-1}", 0.1),
        (r"1.5\times10^3", 1500),
        ("85.5%", 85.5),
        (r"85\%", 85),
        ("1/4", 0.25),
        ("14 dogs", None),
        ("", None),
        ("nan", None),
        ("1_000", None),
        ("inf", None),
    ],
)
def test_a_number_in_any_notation(text: str, number: float | None) -> None:
    assert exact_number(text) == (None if number is None else pytest.approx(number))


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("14 cm", "14", True),
        (r"118^\circ", "118°", True),
        (r"6 \text{ m}^2", "6", True),
        ("11.18", r"5\sqrt{5}", True),
        ("11.2", r"5\sqrt{5}", False),
        ("11.19", r"5\sqrt{5}", False),
        ("y = 2x+1", "2x + 1", True),
        ("1+x^2", "x^2+1", True),
        ("x^2-1", "x^2+1", False),
        ("(1, 2)", "(1,2)", True),
        ("six", "6", False),
        ("", "6", False),
        ("blue", "Blue.", True),
    ],
)
def test_values_are_the_same_but_for_their_dressing(answer: str, gold: str, same: bool) -> None:
    assert same_value(answer, gold) == same


def test_words_and_lists_of_numbers() -> None:
    assert same_words("'Dark  Blue.'", "dark blue")
    assert not same_words("dark", "dark blue")
    assert numbers("from 2,014 to -3.5") == [2014.0, -3.5]


def test_tiny_numbers_differ() -> None:
    assert same_value("3.2e-19", "3.2e-19")
    assert same_value("0.0", "0")
    assert not same_value("1.6e-19", "3.2e-19")
    assert not same_value("2e-7", "1e-7")
