from fractions import Fraction

import pytest

from g2rpo.scoring.expression.tokens import canonical, tokens
from g2rpo.scoring.expression.units import is_unit, split_unit


@pytest.mark.parametrize(
    ("text", "kept", "dimension", "size"),
    [
        ("5 cm", 1, (("length", 1),), Fraction(1, 100)),
        ("5cm^2", 1, (("length", 2),), Fraction(1, 10_000)),
        ("5 cm²", 1, (("length", 2),), Fraction(1, 10_000)),
        ("5 square meters", 1, (("length", 2),), Fraction(1)),
        ("72 km/h", 1, (("length", 1), ("time", -1)), Fraction(5, 18)),
        ("9.8 m/s^2", 1, (("length", 1), ("time", -2)), Fraction(1)),
        ("2 L", 1, (("length", 3),), Fraction(1, 1000)),
        (r"3\text{ hours}", 1, (("time", 1),), Fraction(3600)),
        ("20 °C", 1, (("°C", 1),), Fraction(1)),
        ("6 units", 1, (), Fraction(1)),
        (r"\sqrt{3} m", 4, (("length", 1),), Fraction(1)),
    ],
)
def test_a_number_and_its_unit(text: str, kept: int, dimension: tuple, size: Fraction) -> None:
    bare, unit = split_unit(tokens(canonical(text)))
    assert len(bare) == kept
    assert (unit.dimension, unit.size) == (dimension, size)


@pytest.mark.parametrize("text", ["5m", "5x", "2g+1", "cm", "5 cats", "m", "5 cm/"])
def test_what_has_no_unit(text: str) -> None:
    found = tokens(text)
    assert split_unit(found) == (found, None)


def test_words_that_are_no_units() -> None:
    assert not any(is_unit(word) for word in ("is", "the", "apples", "as", "hs"))
