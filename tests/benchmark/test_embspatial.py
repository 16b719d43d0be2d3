import json
from pathlib import Path

import pytest

from g2rpo.benchmark.embspatial import EmbSpatial

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "embspatial" / "rows_readme.json"
OBJECTS = {"A": "garage door", "B": "cabinet", "C": "table", "D": "cart"}


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("<answer>cart</answer>", "C", [1, 0]),
        ("<answer>cart</answer>", "D", [0, 1]),
        ("<think>A</think>\nD", "D", [0, 1]),
        ("cart", "D", [0, 1]),
        ("final answer: b", "B", [1, 1]),
    ],
)
def test_tagged_words_are_read_by_their_first_letter_under_paper(
    text: str, gold: str, expected: list[int]
) -> None:
    row = {"answer": gold, "choices": OBJECTS}
    assert [
        EmbSpatial().score(text, row, protocol=protocol) for protocol in ("paper", "robust")
    ] == expected


def test_a_judge_grades_and_the_rules_stand_in_for_it() -> None:
    row = {"answer": "D", "choices": OBJECTS}
    assert EmbSpatial().judgment("the cart", row, judge=lambda prompt: "A").by == "judge"
    assert [
        EmbSpatial().score("D", row, judge=lambda prompt, reply=reply: reply)
        for reply in ("A", "B, cabinet", "C", "Absolutely")
    ] == [
        1,
        0,
        0,
        1,
    ]


@pytest.mark.skipif(not FIXTURE.is_file(), reason="no ../shared/fixtures beside the repository")
def test_the_answer_of_a_real_row_is_the_place_of_an_option() -> None:
    rows = [EmbSpatial().row(record) for record in json.loads(FIXTURE.read_text())]
    assert [row["answer"] for row in rows] == ["C", "B"]
    assert EmbSpatial().subscores(rows[0]) == ["data_source/mp3d", "relation/close"]
