import pytest

from g2rpo.scoring.mathvision import official_answer, official_equal


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("So it must be (D).", "d"),
        ("(C) C\nbecause", "c"),
        ("Answer: D", "answer:d"),
        ("the length is 7.", "7"),
        ("The answer is 6 cm. It fits.\nYes", "6cm"),
        (r"\boxed{x=6}", "6"),
        (r"\boxed{5}, then \boxed{(B)}", "b"),
        (r"$\boxed{4\pi}$", r"4\pi"),
        (r"\boxed{6 \text{ m}^3}", "6"),
        (r"\boxed{90^\circ}", "90"),
        ("0.5", r"\frac{1}{2}"),
        ("3/4", r"\frac{3}{4}"),
        (r"\boxed{\sqrt2}", r"\sqrt{2}"),
        (r"\boxed{}", r"\boxed"),
    ],
)
def test_the_answer_is_cut_out(response: str, answer: str) -> None:
    assert official_answer(response) == answer


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("6", "6.004", True),
        ("6", "6.006", False),
        ("(1,2)", "(1.001,4/2)", True),
        ("(1,2)", "(2,1)", False),
        ("[0,\\infty]", "[0.0,\\infty]", True),
        ("", "", False),
        ("A", "a", True),
        (r"\frac{1}{3}", "0.33", True),
        ("x", "y", False),
    ],
)
def test_values_are_equal_to_two_decimals(gold: str, answer: str, same: bool) -> None:
    assert official_equal(gold, answer) == same
