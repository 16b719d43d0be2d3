import json
from pathlib import Path

import pytest

from g2rpo.benchmark.mathverse import MathVerse

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "mathverse" / "rows_text_only.json"
QUESTION = "How large is angle CED? ()\nChoices:\nA:40°\nB:60°\nC:120°\nD:140°"


def test_options_stand_in_the_question() -> None:
    row = MathVerse().row(
        {
            "sample_index": "1",
            "question": QUESTION,
            "answer": "D",
            "question_type": "multi-choice",
            "image": "",
        }
    )
    assert row["choices"] == {"A": "40°", "B": "60°", "C": "120°", "D": "140°"}
    assert [
        MathVerse().score(text, row, protocol="robust")
        for text in ("d", "140°", "It is 140 degrees", "<answer>C</answer>")
    ] == [
        1,
        1,
        1,
        0,
    ]


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("118", "118°"),
        ("2191.7", "2191.7 metres"),
        ("x = 14", "14"),
        ("1+x^2", "x^2+1"),
        ("So it is 14 cm.", "14"),
    ],
)
def test_values_are_compared_without_units(text: str, gold: str) -> None:
    row = {"answer": gold, "question_type": "free-form"}
    assert MathVerse().score(text, row, protocol="robust") == 1.0
    assert MathVerse().score("13", row, protocol="robust") == 0.0


def test_a_judge_must_say_exactly_1_or_0() -> None:
    row = {"answer": "14"}
    replies = [
        ("1", 1.0),
        ("0", 0.0),
        ("Judgment: 1", 0.0),
        ("14", 1.0),
        ("Failed to obtain answer via API.", 0.0),
    ]
    assert [
        MathVerse().score("...", row, judge=lambda prompt, reply=reply: reply)
        for reply, _ in replies
    ] == [score for _, score in replies]


def test_an_answer_in_the_wrong_case_is_another_one_under_paper() -> None:
    assert [
        MathVerse().score(text, {"answer": "D"})
        for text in ("so the answer is D", "... D", "... d", "d")
    ] == [1.0, 1.0, 0.0, 0.0]


def test_the_version_without_a_question_is_asked_by_its_query() -> None:
    record = {
        "sample_index": "5",
        "question": "",
        "query_cot": "Reason first.",
        "answer": "D",
        "image": "a.png",
    }
    row = MathVerse().row(
        {
            **record,
            "metadata": "{'subject': 'Plane Geometry', 'subfield': \"Jane's\"}",
            "problem_version": "Vision Only",
        }
    )
    assert row["question"] == "Reason first."
    assert MathVerse().subscores(row) == [
        "problem_version/vision_only",
        "subject/plane_geometry",
        "subfield/jane's",
    ]


@pytest.mark.skipif(not FIXTURE.is_file(), reason="no ../shared/fixtures beside the repository")
def test_every_real_row_is_met_by_its_own_gold_answer() -> None:
    rows = [MathVerse().row(record) for record in json.loads(FIXTURE.read_text())]
    assert [
        row["id"]
        for row in rows
        if MathVerse().score(f"<answer>{row['answer']}</answer>", row, protocol="robust") != 1
    ] == []
    assert {MathVerse().prompt(row).task for row in rows} == {"math"}


def test_with_a_judge_the_rules_of_paper_decide_exact_equality_only() -> None:
    row = {"answer": "14", "question": "q", "question_type": "free-form"}
    replies = iter(["14 cm", "0"])
    verdict = MathVerse().judgment("The answer is 14", row, judge=lambda prompt: next(replies))
    assert (verdict.score, verdict.by) == (0.0, "judge")
    assert MathVerse().judgment(" 14 ", row, judge=lambda prompt: "0").by == "rule"
    assert MathVerse().score("The answer is 14", row) == 1.0
