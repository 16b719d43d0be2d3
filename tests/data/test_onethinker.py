"""Rows of OneThinker and of one's own: which task, which question, which images."""

from collections.abc import Callable
from typing import Any

import pytest

from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate

PLAIN = PromptTemplate(instruction="", hints={})
Record = Callable[..., dict[str, Any]]


def reads(tasks: dict[str, str] | None = None) -> OneThinkerFormat:
    return OneThinkerFormat(tasks=tasks or {}, template=PLAIN)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("<image> Where is it?", "Where is it?"),
        ("Where is it? <image>", "Where is it? <image>"),
        ("<image><image> Which is older?", "Which is older?"),
        ("Is <image> older than <image>?", "Is <image> older than <image>?"),
        ("<image> Is it older than <image>?", "<image> Is it older than <image>?"),
    ],
)
def test_images_stay_where_the_text_has_them_and_come_first_without_markers(
    question: str, text: str, record: Record
) -> None:
    row = record(problem=question, images=["a.png"] * question.count("<image>"))
    reads({"math_reasoning": "math"}).check(row)
    assert reads({"math_reasoning": "math"}).prompt(row, id="x", meta={}).text == text


def test_the_most_particular_field_that_is_mapped_decides_the_task(record: Record) -> None:
    mapped = reads({"ChartQA": "chart", "numerical": "math"})
    assert mapped.task(record(task_type=None, data_source="ChartQA")) == "chart"
    assert mapped.task(record(task_type=None, data_source="Elsewhere")) == "math"
    assert mapped.task(record(task_type="document", data_source="ChartQA")) == "document"


def test_a_mapping_to_a_reserved_name_is_refused_with_its_key() -> None:
    with pytest.raises(
        ValueError,
        match=r"data\.format\.tasks\.ocr: expected the name of a task, got 'default', which",
    ):
        reads({"ocr": "default"})


def test_an_answer_may_lie_in_a_solution_and_be_json(record: Record) -> None:
    row = record(
        problem_type="spatial grounding", solution={"boxes": [1, 2, 3, 4]}, task_type="grounding"
    )
    del row["answer"]
    reads().check(row)
    assert reads().prompt(row, id="x", meta={}).answer == '{"boxes": [1, 2, 3, 4]}'


def test_stray_entries_among_lettered_options_are_not_shown(record: Record) -> None:
    row = record(
        problem_type="multiple choice",
        options=["A. 5.7", "-", "(B) 7.1", "C) 9"],
        answer="<answer>B</answer>",
    )
    reads({"math_reasoning": "math"}).check(row)
    text = reads({"math_reasoning": "math"}).prompt(row, id="x", meta={}).text
    assert text == "How many things? (1)\nOptions:\nA. 5.7\n(B) 7.1\nC) 9"


def test_images_may_stand_in_options(record: Record) -> None:
    row = record(
        problem="Which is a cat?",
        problem_type="multiple choice",
        options=["<image>", "<image>"],
        answer="B",
        images=["a", "b"],
    )
    form = reads({"math_reasoning": "math"})
    form.check(row)
    assert (
        form.prompt(row, id="x", meta={}).text
        == "Which is a cat?\nOptions:\nA. <image>\nB. <image>"
    )
    with pytest.raises(BadRecord, match="images: the question has 2 <image>, the row 1 paths"):
        form.check(row | {"images": ["a"]})


OWN = {
    "id": "q1",
    "task": "chart",
    "text": "How much?",
    "images": "a.png",
    "answer": "3",
    "answer_type": "numerical",
}


def test_own_records_have_the_names_of_a_prompt() -> None:
    own = OwnFormat(tasks={}, template=PLAIN)
    own.check(OWN)
    prompt = own.prompt(OWN, id="f/q1", meta={"line": 3})
    assert (prompt.task, prompt.text, prompt.answer, prompt.answer_type) == (
        "chart",
        "How much?",
        "3",
        "numerical",
    )
    assert (prompt.images, own.key(OWN), prompt.meta) == (("a.png",), "q1", {"line": 3})


@pytest.mark.parametrize("field", ["task", "text", "answer", "answer_type"])
def test_a_missing_field_is_named_as_it_is_written(field: str) -> None:
    with pytest.raises(
        BadRecord,
        match=rf"{field}: missing; expected the fields task, text, answer, answer_type, and images",
    ):
        OwnFormat(tasks={}, template=PLAIN).check(
            {name: value for name, value in OWN.items() if name != field}
        )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("bbox", '{"boxes": [1, 2, 3, 4]}'),
        ("numeric", "7"),
        ("Spatial_Grounding", '{"boxes": [1, 2, 3, 4]}'),
    ],
)
def test_every_name_of_an_answer_type_that_the_reward_knows_is_taken(
    name: str, answer: str
) -> None:
    OwnFormat(tasks={}, template=PLAIN).check(OWN | {"answer_type": name, "answer": answer})
    with pytest.raises(BadRecord, match="answer: "):
        OwnFormat(tasks={}, template=PLAIN).check(OWN | {"answer_type": name, "answer": "many"})
