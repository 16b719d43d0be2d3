import pytest

from g2rpo.benchmark.mathvista import MathVista

FREE = {"question_type": "free_form"}
CHOICE = {
    "question_type": "multi_choice",
    "answer_type": "text",
    "choices": ["3/11", "8/11", "6/11", "3/5"],
    "answer": "8/11",
}


def _scores(text: str, row: dict[str, object], judge: object = None) -> list[float]:
    return [
        MathVista().score(text, row, protocol=protocol, judge=judge)
        for protocol in ("paper", "official", "robust")
    ]


@pytest.mark.parametrize(
    ("text", "answer", "kind", "precision", "expected"),
    [
        ("14", "14", "integer", None, [1, 1, 1]),
        ("14.0", "14", "integer", None, [0, 0, 1]),
        ("14.9", "14", "integer", None, [0, 0, 0]),
        ("0", "0", "integer", None, [0, 1, 1]),
        ("The answer is 14.", "14", "integer", None, [0, 0, 1]),
        ("1,400", "1400", "integer", None, [0, 0, 1]),
        ("0.61", "0.6", "float", 1.0, [0, 1, 1]),
        ("0.66", "0.6", "float", 1.0, [0, 0, 0]),
        ("[2014, 2016]", "[2014, 2016]", "list", None, [0, 0, 1]),
        ("2016 and 2014", "[2014, 2016]", "list", None, [0, 0, 0]),
    ],
)
def test_numbers_by_protocol(
    text: str, answer: str, kind: str, precision: float | None, expected: list[int]
) -> None:
    row = {**FREE, "answer": answer, "answer_type": kind} | (
        {} if precision is None else {"precision": precision}
    )
    assert _scores(text, row) == expected


def test_the_official_score_snaps_an_unread_answer_to_the_shortest_option() -> None:
    assert _scores("no idea", {**CHOICE, "answer": "3/5"}) == [0.0, 1.0, 0.0]
    assert _scores("(b) it is", CHOICE) == [0.0, 0.0, 1.0]


def test_a_judge_extracts_and_rules_compare() -> None:
    row = {**FREE, "answer": "14", "answer_type": "integer"}
    assert _scores("fourteen", row, lambda prompt: "14") == [1.0, 1.0, 1.0]
    assert _scores("as above", row, lambda prompt: "14.9") == [
        0.0,
        1.0,
        0.0,
    ]  # the official score cuts decimals off
    assert MathVista().score("0", {**row, "answer": "0"}, judge=lambda prompt: "0") == 1.0


def test_a_row_of_the_hub_and_its_prompt() -> None:
    record = {
        "pid": "1",
        "question": "How long?",
        "decoded_image": "a.png",
        "image": "images/1.jpg",
        "choices": None,
        "unit": "g",
    }
    record |= {
        "precision": 1.0,
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
    }
    row = MathVista().row(
        {**record, "metadata": {"task": "textbook question", "skills": ["a skill", "arithmetic"]}}
    )
    assert (row["images"], row["precision"]) == (["a.png"], 1)
    assert (
        MathVista()
        .prompt(row)
        .text.endswith("e.g., 1.2, 1.3, 1.4, at the end.\nQuestion: How long? (Unit: g)")
    )
    assert {"task/textbook_question", "skills/a_skill", "skills/arithmetic"} < set(
        MathVista().subscores(row)
    )


def test_a_gold_text_becomes_a_letter_or_is_refused() -> None:
    record = {"pid": "1", "question": "Which?", "image": "a.png", **CHOICE}
    assert MathVista().row(record)["answer_option"] == "B"
    with pytest.raises(ValueError, match="mathvista, record '1': column answer: expected one of"):
        MathVista().row({**record, "answer": "1/2"})
