"""Options in every form that data sets have, from the record to the text and the letters that go
with a prompt.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.data.file_source import FileSource
from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.options import gold_letters, options_in, read_options
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate

BOTH = {"A": "red", "B": "blue"}


@pytest.mark.parametrize(
    "found",
    [
        ["red", "blue"],
        ["A. red", "B. blue"],
        ["(A) red", "(B) blue"],
        ["a) red", "b) blue"],
        ["A: red", "-", "B: blue"],
        {"A": "red", "B": "blue"},
        {"a": "red", "b": "blue", "c": None},
        [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}],
        [{"A": "red"}, {"B": "blue"}],
        {"label": ["A", "B"], "text": ["red", "blue"]},
        '["red", "blue"]',
        '{"A": "red", "B": "blue"}',
        "A. red\nB. blue",
        "red\nblue",
    ],
    ids=str,
)
def test_every_form_of_a_list_gives_the_same_letters_and_texts(found: Any) -> None:
    assert read_options(found).texts == BOTH


def test_letters_are_added_and_written_alike_but_a_list_that_has_them_is_shown_as_it_is() -> None:
    assert read_options(["red", 7, True]).lines == ("A. red", "B. 7", "C. true")
    assert read_options(["a) red", "b) blue"]).lines == ("A. red", "B. blue")
    assert read_options(["A) red", "-", "(B) blue"]).lines == ("A) red", "(B) blue")
    assert read_options(["A", "B", "C"]).lines == ("A", "B", "C")
    assert read_options(None) == read_options([]) == ((), {})


def test_texts_that_only_look_like_labels_keep_them() -> None:
    bacteria = ["E. coli", "S. aureus", "A. baumannii"]
    assert read_options(bacteria).texts == {"A": "E. coli", "B": "S. aureus", "C": "A. baumannii"}
    assert read_options(bacteria[:2]).texts == {"A": "E. coli", "B": "S. aureus"}
    assert read_options(["A. Smith", "nobody", "both of them", "B or C"]).texts["A"] == "A. Smith"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (7, "options: expected a list or an object, got '7'"),
        ({"first": "red"}, "options: expected a letter as label, got 'first'"),
        (
            [{"text": "red"}, {"text": "blue"}],
            "options: expected objects with 'label' and 'text', got {'text': 'red'}",
        ),
        (
            [{"label": "A", "text": "x"}, {"label": "a", "text": "y"}],
            "options: the letter A occurs twice",
        ),
        (
            {"label": ["A"], "text": ["x", "y"]},
            "options: expected lists 'label' and 'text' of one length",
        ),
        ("[oops", "options: expected JSON or one option a line"),
    ],
)
def test_what_is_no_list_of_options_is_refused_by_name(found: Any, message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        read_options(found)


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("Which?\nA. red\nB. blue", BOTH),
        ("Which?\nOptions:\n(A) red\n(B) blue\nAnswer with a letter.", BOTH),
        (
            (
                "Hint: give the letter, e.g., A, B, C, D, at the end.\nQuestion:"
                " Which?\nChoices:\n(A) red\n(B) blue"
            ),
            BOTH,
        ),
        ("Find x.\nChoices:\nA:red\nB:blue", BOTH),
        ("Which one? A. red B. blue", BOTH),
        ("Which one is it: (A) red, (B) blue", BOTH),
        ("which?\na) red\nb) blue\n", BOTH),
        ("A. Miller asks which.\n\nA. red\nB. blue", BOTH),
        ("Which?\n**A.** red\n**B.** blue", BOTH),
        ("Is vitamin A. good?", {}),
        ("In triangle ABC, angle A: 30 degrees. Which is B?", {}),
        ("Look at B. C. Smith.", {}),
    ],
)
def test_options_that_stand_in_a_question_are_found(question: str, texts: dict[str, str]) -> None:
    assert options_in(question) == texts


def test_a_gold_that_is_a_label_or_a_text_becomes_letters() -> None:
    texts = {"A": "b", "B": "a dog", "C": "A"}
    golds = ("b", "B", "(b).", "B. a dog", "A dog", "a", "A and C", "AC", "D", "AA", "cab")
    assert [gold_letters(gold, texts) for gold in golds] == [
        "B",
        "B",
        "B",
        "B",
        "B",
        "A",
        "AC",
        "AC",
        None,
        None,
        None,
    ]
    assert [gold_letters(gold, {}) for gold in ("d", "AC", "red")] == ["D", "AC", None]


ROWS = {
    "in the question": (
        {"problem": "<image> Which?\nA. red\nB. blue", "options": []},
        "B",
        "Which?\nA. red\nB. blue",
    ),
    "plain list": (
        {"problem": "<image> Which?", "options": ["red", "blue"]},
        "blue",
        "Which?\nOptions:\nA. red\nB. blue",
    ),
    "object": (
        {"problem": "<image> Which?", "options": {"a": "red", "b": "blue"}},
        "b",
        "Which?\nOptions:\nA. red\nB. blue",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row_of_a_file_becomes_a_prompt_with_its_options(
    case: str, record: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    fields, gold, text = ROWS[case]
    row = record(problem_type="multiple choice", answer=f"<answer>{gold}</answer>", **fields)
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    template = PromptTemplate(instruction="Think.", hints={})
    source = FileSource(
        files="rows.json",
        root=str(tmp_path),
        format=OneThinkerFormat(tasks={"math_reasoning": "math"}, template=template),
    )
    prompt = source.get("math", 0, "train")
    assert (prompt.text, prompt.answer, prompt.meta["options"]) == (f"{text}\nThink.", "B", BOTH)
