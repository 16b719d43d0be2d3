import time

import pytest

from g2rpo.scoring.open_answer import same_amount, same_answer


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("The answer is $5\\sqrt{3}$.", "5\\sqrt{3}", True),
        ("So \\(x = 5\\sqrt{3}\\).", "5\\sqrt{3}", True),
        ("The probability is $\\frac{1}{2}$.", "\\frac{1}{2}", True),
        ("three quarters", "\\frac{3}{4}", True),
        ("50%", "\\frac{1}{2}", True),
        ("4 pi", "4\\pi", True),
        ("12\\pi", "12", False),
        ("1, 5 and 7", "1,5,7", True),
        ("5,3", "3,5", False),
        ("5", "\\$5", True),
        ("2x+1", "y=2x+1", True),
        ("(3,∞)", "x>3", True),
        ("It is Monday", "Monday", True),
        ("It is not Monday", "Monday", False),
        ("They need 6 moves for 12 coins.", "6", True),
        ("They need 6 moves for 12 coins.", "12", False),
        ("Between 5 and 6", "6", False),
        ("6 or 7", "6", False),
        ("I cannot determine it; maybe there are 6 tiles.", "6", False),
        ("No wall is in the way, so the answer is yes", "yes", True),
    ],
)
def test_what_an_open_answer_states(answer: str, gold: str, same: bool) -> None:
    assert same_answer(answer, gold) == same


def test_an_amount_among_words() -> None:
    assert same_amount("Luca needs $1.45 to buy 2 candies.", "1.45")
    assert not same_amount("Luca needs $1.45 to buy 2 candies.", "2")


def test_100_000_characters_are_compared_within_a_second() -> None:
    same_answer("1", "1/2")
    for piece in ("(", "$", "\\(", "is ", "1,", "x=", "[1,", "a ", "\\frac{", "not ", "1 and "):
        start = time.process_time()
        same_answer(piece * (100_000 // len(piece)), "\\frac{1}{2}")
        assert time.process_time() - start < 1, piece
