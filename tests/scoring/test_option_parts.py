import pytest

from g2rpo.scoring.option import read_option
from g2rpo.scoring.option_parts import by_part, by_place

LINES = {
    "A": "Line A is longer",
    "B": "Line B is longer",
    "C": "They are equal",
    "D": "Cannot tell",
}
ANIMALS = {"A": "cat", "B": "dog", "C": "both of them", "D": "none of the above"}
STATEMENTS = {"A": "I only", "B": "II only", "C": "I and II", "D": "neither I nor II"}


@pytest.mark.parametrize(
    ("options", "text", "letter"),
    [
        (LINES, "line A", "A"),
        (LINES, "Line B is the longer one", "B"),
        (LINES, "Both lines are equal.", "C"),
        (LINES, "Line A and line B are equal in length.", "C"),
        (LINES, "A line", None),
        (LINES, "They are not equal", None),
        (LINES, "It is longer", None),
        (ANIMALS, "None of these", "D"),
        (ANIMALS, "Neither of them", "D"),
        (ANIMALS, "both", "C"),
        (ANIMALS, "all", None),
        (STATEMENTS, "Only I is true", "A"),
        (STATEMENTS, "Statements I and II", "C"),
        ({"A": "vitamin C", "B": "vitamin B12"}, "B12", "B"),
        ({"A": "2 cm", "B": "3 cm"}, "The 2 lines are 5 cm apart", None),
        ({"A": "of the", "B": "is"}, "", None),
        ({"A": "kitchen island", "B": "trash bin"}, "the kitchen", None),
        ({"A": "kitchen island", "B": "trash bin"}, "the bin", "B"),
        ({"A": "red car", "B": "blue car"}, "red", "A"),
    ],
)
def test_an_option_is_told_by_the_words_that_others_lack(
    options: dict[str, str], text: str, letter: str | None
) -> None:
    assert by_part(text, options) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("the second option", "B"),
        ("The answer is the last choice.", "D"),
        ("fifth option", None),
        ("The first thing is a dog", None),
    ],
)
def test_an_option_is_told_by_its_place(text: str, letter: str | None) -> None:
    assert by_place(text, ANIMALS) == letter


def test_a_letter_goes_before_words() -> None:
    assert read_option("Line A is longer, so the answer is (C).", LINES) == "C"
