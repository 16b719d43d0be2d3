"""Gold answers as records have them."""

import json
from typing import Any

import pytest

from g2rpo.data.gold import read_golds
from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate


@pytest.mark.parametrize(
    ("row", "golds"),
    [
        ({"answer": "<answer> 7 </answer>"}, ["7"]),
        ({"answer": 7}, ["7"]),
        ({"answer": 0}, ["0"]),
        ({"answer": None, "solution": "2.5"}, ["2.5"]),
        ({"answer": ["7", 7.5, None, "", "7"]}, ["7", "7.5"]),
    ],
)
def test_golds_are_texts_numbers_or_lists_of_them(row: dict[str, Any], golds: list[str]) -> None:
    assert read_golds(row, "numerical") == golds


def test_boxes_are_json_and_no_alternatives() -> None:
    assert read_golds({"answer": {"boxes": [1, 2, 3, 4]}}, "spatial grounding") == [
        '{"boxes": [1, 2, 3, 4]}'
    ]
    assert read_golds({"answer": [1, 2, 3, 4]}, "segmentation") == ["[1, 2, 3, 4]"]


def test_the_gold_of_a_custom_type_is_any_value_or_none() -> None:
    assert read_golds({"answer": {"x": 3, "y": [4]}}, "custom") == ['{"x": 3, "y": [4]}']
    assert read_golds({"answer": True}, "custom") == ["true"]
    assert read_golds({"answer": "Yes"}, "custom") == ["Yes"]
    assert read_golds({}, "custom") == [""]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "answer: it is missing or null"),
        ({"answer": None}, "answer: it is missing or null"),
        ({"answer": " <answer></answer>"}, "answer: it is empty"),
        ({"answer": []}, "answer: it is empty"),
        (
            {"answer": True},
            "answer: expected a text, .* got true; write the word that is asked for, such as Yes",
        ),
        ({"answer": {"value": 3}}, r"answer: expected a text, .* got \{"),
        ({"solution": float("nan")}, "solution: expected a text, .* got NaN"),
    ],
)
def test_what_is_no_answer_is_refused_by_its_field(row: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        read_golds(row, "open ended")


def test_alternatives_travel_with_the_prompt(record: Any) -> None:
    form = OneThinkerFormat(
        tasks={"math_reasoning": "math"}, template=PromptTemplate(instruction="", hints={})
    )
    row = record(problem_type="open-ended", answer=["a sofa", "a couch"])
    form.check(row)
    prompt = form.prompt(json.loads(json.dumps(row)), id="x", meta={"line": 3})
    assert (prompt.answer, prompt.meta) == (
        "a sofa",
        {"line": 3, "alternatives": ["a sofa", "a couch"]},
    )
    assert "alternatives" not in form.prompt(record(answer=["7"]), id="x", meta={}).meta
