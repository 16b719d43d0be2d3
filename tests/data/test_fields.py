"""Fields that nothing reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.data.fields import is_media, unread_fields
from g2rpo.data.file_source import FileSource
from g2rpo.data.onethinker import FIELDS, OneThinkerFormat
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate

ROW = {
    "problem": "?",
    "images": ["a.png"],
    "answer": "1",
    "problem_type": "math",
    "task_type": "math",
}


@pytest.mark.parametrize(
    "name",
    [
        "videos",
        "video",
        "image_path",
        "imagePaths",
        "img",
        "image_url",
        "images_list",
        "image_1",
        "audio",
    ],
)
def test_media_that_nothing_reads_is_refused(name: str) -> None:
    with pytest.raises(BadRecord, match=f"{name}: unknown field; the nearest one is 'images'"):
        unread_fields({**ROW, name: "x.bin"}, FIELDS)
    assert unread_fields({**ROW, name: None}, FIELDS) == []


@pytest.mark.parametrize(
    "name",
    ["image_id", "image_width", "image_size", "num_images_seen", "source", "split", "imagination"],
)
def test_words_about_images_are_no_media(name: str) -> None:
    assert not is_media(name)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("anwser", "answer"),
        ("Answer", "answer"),
        ("problme", "problem"),
        ("ground_truth", "answer"),
    ],
)
def test_a_misspelled_field_is_refused_with_the_one_that_is_meant(name: str, instead: str) -> None:
    row = {key: value for key, value in ROW.items() if key != instead} | {name: "x"}
    with pytest.raises(BadRecord, match=f"{name}: unknown field; is it '{instead}'"):
        unread_fields(row, FIELDS)
    assert unread_fields(ROW | {name: "x"}, FIELDS) == [name]  # the field itself is there as well


def test_choices_are_options_and_a_question_is_a_text() -> None:
    own = OwnFormat(tasks={}, template=PromptTemplate(instruction="", hints={}))
    row = {"task": "math", "text": "?", "answer": "A", "answer_type": "multiple choice"}
    with pytest.raises(BadRecord, match="choices: unknown field; is it 'options'"):
        own.check(row | {"choices": ["x", "y"]})
    with pytest.raises(BadRecord, match="question: unknown field; is it 'text'"):
        own.check({"question" if name == "text" else name: value for name, value in row.items()})


def test_other_fields_and_prompts_without_an_image_are_told_once(
    record: Callable[..., dict[str, Any]],
    shelf: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [
        record(1, source="x"),
        record(2, source="y", split="train"),
        record(3, problem="Two and two?", images=[]),
    ]
    template = PromptTemplate(instruction="Look at the image.", hints={})
    with caplog.at_level("INFO", logger="g2rpo"):
        source = FileSource(
            files="rows.json",
            root=str(shelf(rows)),
            format=OneThinkerFormat(tasks={"math_reasoning": "math"}, template=template),
        )
    assert (
        "rows.json: fields that nothing but reward=functions reads, with the number of records that"
        " have them: source (2), split (1)" in caplog.text
    )
    assert (
        "rows.json: 1 records: there is no image, though data.format.template tells the model to"
        " look at one" in caplog.text
    )
    assert [("warning" in source.get("math", index, "train").meta) for index in range(3)] == [
        False,
        False,
        True,
    ]
