import pytest

from g2rpo.scoring.amount_text import amount_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1{,}400", "1,400"),
        ("1'400", "1400"),
        ("7cm", "7 cm"),
        (r"7\,\text{cm}", "7 cm"),
        ("three fourths", "(3/4)"),
        ("=> 7", "7"),
        (
            "1. There are 12.\n2. Remove 5.\n3. That leaves 7.",
            "There are 12.Remove 5.That leaves 7.",
        ),
        ("1. 7 is right", "1. 7 is right"),
        ("the 3rd bar", "the 3rd bar"),
        ("3 out of 4", "3//4"),
        ("not 8 but 7", " 7"),
        ("$5 or \\$5", "5 or 5"),
    ],
)
def test_numbers_come_in_digits(text: str, plain: str) -> None:
    assert "".join(amount_text(text).split()) == "".join(plain.split())
