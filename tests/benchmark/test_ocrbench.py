import json
from pathlib import Path

import pytest

from g2rpo.benchmark.ocrbench import FORMULAS, OCRBench

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "ocrbench" / "rows.json"


@pytest.mark.parametrize(
    ("text", "gold", "category", "expected"),
    [
        ('The word is "Center".', "CENTER", "Regular Text Recognition", [1, 1]),
        ("CENTERS", "CENTER", "Regular Text Recognition", [1, 0]),
        ("2018", "18", "Doc-oriented VQA", [1, 0]),
        ("RM 12.50", "12.50", "Key Information Extraction", [1, 1]),
        ("SECRET\nRECIPE", "secret recipe", "Scene Text-centric VQA", [1, 1]),
        ("<think>CENTER?</think>under", "CENTER", "Regular Text Recognition", [1, 0]),
        ("x ^ 2", "x^2", FORMULAS, [1, 1]),
        ("X^2", "x^2", FORMULAS, [0, 0]),
        (r"\dfrac{1}{2}", r"\frac { 1 } { 2 }", FORMULAS, [0, 1]),
    ],
)
def test_a_gold_answer_must_occur(text: str, gold: str, category: str, expected: list[int]) -> None:
    row = {"answer": [gold], "category": category}
    assert [
        OCRBench().score(text, row, protocol=protocol) for protocol in ("paper", "robust")
    ] == expected


@pytest.mark.skipif(not FIXTURE.is_file(), reason="no ../shared/fixtures beside the repository")
def test_real_rows_are_met_by_their_gold_answers_and_differ_in_their_ids() -> None:
    rows = [OCRBench().row(record) for record in json.loads(FIXTURE.read_text())]
    scores = {
        OCRBench().score(row["answer"][-1], row, protocol=protocol)
        for row in rows
        for protocol in ("paper", "robust")
    }
    assert scores == {1.0}
    assert len({row["id"] for row in rows}) == len(rows)


def test_a_row_counts_for_its_category_and_its_group() -> None:
    row = OCRBench().row(
        {
            "question": "what?",
            "answer": ["a"],
            "question_type": "Digit String Recognition",
            "image": "a.png",
            "dataset": "ORAND",
        }
    )
    assert OCRBench().subscores(row) == [
        "category/digit_string_recognition",
        "group/text_recognition",
    ]
