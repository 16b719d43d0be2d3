import pytest

from g2rpo.scoring.extract import clean, last_box, plain, without_thinking


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>A?</think>B", "B"),
        ("<thinking>A?</thinking> <answer>B</answer>", "B"),
        ("<thought>A?</thought>\nB\n", "B"),
        ("A?</think>B", "B"),
        ("<think>A</think>no <think>C</think>B", "B"),
        ("< Thinking >A</ thinking >< ANSWER >B</answer>", "B"),
        ("<answer>B</answer><answer>C</answer>", "B"),
        ("<thinking>A, <answer>B</answer>", "B"),
        ("<answer>B", "B"),
        (r"<answer>so \boxed{\frac{1}{2}}.</answer>", r"\frac{1}{2}"),
        (r"\boxed{A}, no: \boxed{B}", "B"),
        ("\x00B", "B"),
        ("<thinking>A", ""),
        ("<think></think>", ""),
        ("I think B", "I think B"),
    ],
)
def test_the_answer_is_found(text: str, answer: str) -> None:
    assert clean(text) == answer


def test_an_answer_inside_the_thinking_is_none() -> None:
    assert (
        without_thinking("<think><answer>A</answer></think><answer>B</answer>")
        == "<answer>B</answer>"
    )


def test_a_box_is_closed_by_its_own_brace() -> None:
    assert last_box(r"\boxed{a{b}c} d}") == "a{b}c"
    assert last_box(r"\boxed{5} and \boxed{6") is None
    assert last_box("5") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**B**", "B"),
        ("2 * 3", "2 * 3"),
        ("2*3", "2*3"),
        ("x_1", "x_1"),
        ("_B_", "B"),
        ("don't", "don't"),
        ("## B", "B"),
        ("“B.”", "B."),
        (r"$\text{B}$", "B"),
        (r"\frac{\text{a}}{b}", r"\frac{a}{b}"),
        ("Ｂ", "B"),
        ("−3", "-3"),
        ("**Answer:** B", "Answer: B"),
    ],
)
def test_dressing_is_taken_off_and_arithmetic_left_alone(text: str, expected: str) -> None:
    assert plain(text) == expected
