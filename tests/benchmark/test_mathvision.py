import json
from pathlib import Path

import pytest

from g2rpo.benchmark.mathvision import MathVision

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "mathvision" / "rows.json"
OPTIONS = {"answer": "B", "choices": ["49", "70", "75", "105", "150"]}


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("47", "45^2", [1, 0, 0]),  # exclusive or, as Python reads it
        ("2025", "45^2", [1, 1, 1]),
        (r"\sqrt{125}", r"5\sqrt{5}", [0, 1, 1]),
        ("12.566370614", r"$4 \pi$", [0, 1, 1]),
        ("6.004", "6", [0, 1, 0]),
        ("0.33", r"\frac{1}{3}", [0, 1, 1]),
        ("0.3", r"\frac{1}{3}", [0, 0, 0]),
        (r"I had \boxed{5}, now \boxed{6}", "6", [0, 1, 1]),
        (r"I had \boxed{6}, now \boxed{5}", "6", [0, 0, 0]),
        ("So x = 6", "6", [0, 1, 1]),
        ("69", "69{degrees}", [0, 0, 1]),
        ("\\frac{36}{13}", "\x0crac{36}{13}", [0, 0, 1]),
    ],
)
def test_free_answers_by_protocol(text: str, gold: str, expected: list[int]) -> None:
    assert [
        MathVision().score(text, {"answer": gold}, protocol=protocol)
        for protocol in ("paper", "official", "robust")
    ] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(B)", [1, 1, 1]),
        ("70", [1, 1, 1]),
        ("b", [0, 1, 1]),
        ("Answer: B", [1, 0, 1]),
        ("105", [0, 0, 0]),
    ],
)
def test_options_by_protocol(text: str, expected: list[int]) -> None:
    assert [
        MathVision().score(text, OPTIONS, protocol=protocol)
        for protocol in ("paper", "official", "robust")
    ] == expected


def test_a_judge_only_extracts() -> None:
    assert MathVision().score("seventy", OPTIONS, judge=lambda prompt: "B") == 1.0
    assert MathVision().score("a half", {"answer": "1/2"}, judge=lambda prompt: "0.5") == 1.0
    assert MathVision().judgment("6", {"answer": "6"}, judge=lambda prompt: "7").by == "rule"


def test_options_are_asked_unless_they_are_in_the_picture() -> None:
    row = {
        "id": "1",
        "question": "Which?\n<image1>",
        "images": ["a.png"],
        "answer": "B",
        "choices": ["red", "blue"],
    }
    assert MathVision().prompt(row).text == "Which?\n<image1>\n(A) red\n(B) blue"
    assert MathVision().prompt({**row, "choices": ["A", "B"]}).text == "Which?\n<image1>"


@pytest.mark.skipif(not FIXTURE.is_file(), reason="no ../shared/fixtures beside the repository")
def test_every_real_row_is_met_by_its_own_gold_answer() -> None:
    rows = [MathVision().row(record) for record in json.loads(FIXTURE.read_text())]
    missed = [
        row["id"]
        for row in rows
        if MathVision().score(rf"\boxed{{{row['answer']}}}", row, protocol="robust") != 1
    ]
    assert missed == []
    assert all(row["images"] and row["category"] for row in rows)


def test_a_gold_letter_without_an_option_is_refused() -> None:
    with pytest.raises(ValueError, match="mathvision, record '7': column answer"):
        MathVision().row({"id": "7", "question": "Which?", "options": ["1", "2"], "answer": "E"})
