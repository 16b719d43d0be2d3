import pytest

from g2rpo.scoring.mmmu import official_option, open_candidates, open_match

OPTIONS = {"A": "Ligament", "B": "Tendon", "C": "Tibial ligament"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(A), no, (C), no, (B)", "B"),
        ("(A) or B", "A"),  # brackets come first
        ("A patient has C here", "C"),
        ("'B.", "B"),  # marks are taken off in one pass, in a fixed order
        ("'.B", None),
        ("**B**", None),
        ("Tendon", None),  # five words at most: texts do not count
        ("I would say it is a tendon", "B"),
        (
            "I would say it is the tibial ligament",
            "A",
        ),  # `ligament` begins further right than `tibial ligament`
        ("", None),
    ],
)
def test_the_official_letter(text: str, letter: str | None) -> None:
    assert official_option(text, OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("It is 20\nSo the answer is 30.", "20", True),
        ("x = 3 + 5 = 8", "8", True),
        ("x = 3\nfine", "3", True),  # no tail anywhere: the whole text counts
        ("x = 3\nit is so", "3", False),  # `=` counts in the last line only
        ("0.964", "0.96", True),
        ("0.966", "0.96", False),
        ("1e3", "1000", True),
        ("11/640", "1/64", True),
        ("C is correct", "C", False),
        ("answer: c or d", "C", True),
    ],
)
def test_the_official_open_answer(text: str, gold: str, right: bool) -> None:
    assert (open_match(open_candidates(text), [gold]) is not None) == right
