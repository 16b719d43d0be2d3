import pytest

from g2rpo.benchmark.ai2d import AI2D
from g2rpo.benchmark.multiple_choice import gold_letter

ANIMALS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}


def test_the_prompt_is_that_of_vlmevalkit() -> None:
    row = {
        "id": "1",
        "question": "What is it?",
        "choices": {"A": "cat", "B": "dog"},
        "hint": "Look.",
        "images": ["a.png"],
        "answer": "B",
    }
    asked = (
        "Hint: Look.\nQuestion: What is it?\nOptions:\nA. cat\nB. dog\nPlease select the correct"
        " answer from the options above. \n"
    )
    assert AI2D().prompt(row).text == asked


def test_a_judge_is_asked_only_where_the_rules_read_nothing() -> None:
    asked: list[str] = []

    def judge(prompt: str) -> str:
        asked.append(prompt)
        return "B"

    row = {"answer": "B", "choices": ANIMALS}
    assert AI2D().judgment("C", row, judge=judge).by == "rule"
    judged = AI2D().judgment("some animal with long ears", row, judge=judge)
    assert (judged.score, judged.by, len(asked)) == (1.0, "judge", 1)
    assert "B. rabbit" in asked[0]
    assert "long ears" in asked[0]


@pytest.mark.parametrize(
    ("answer", "letter"), [("C", "C"), (2, "C"), ("2", "C"), ("cat", "C"), ("(c)", "C")]
)
def test_a_gold_answer_is_a_letter_a_number_from_0_or_a_text(answer: object, letter: str) -> None:
    assert gold_letter("ai2d", "1", answer, ANIMALS) == letter


def test_a_number_is_a_place_even_where_options_are_numbers() -> None:
    assert gold_letter("ai2d", "1", "2", {"A": "1", "B": "2", "C": "12"}) == "C"


@pytest.mark.parametrize("answer", ["E", "9", "bird"])
def test_a_gold_answer_outside_the_options_is_refused(answer: str) -> None:
    with pytest.raises(
        ValueError, match=r"ai2d, record '1': column answer: expected one of A, B, C, D"
    ):
        gold_letter("ai2d", "1", answer, ANIMALS)
