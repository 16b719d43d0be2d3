"""Records whose question is a list of turns."""

from typing import Any

import pytest

from g2rpo.data.conversation import unfolded
from g2rpo.data.rows import BadRecord

ASKED = {"problem": "Is <image> red?", "system": "Be short.", "history": ()}


@pytest.mark.parametrize(
    "turns",
    [
        [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Is <image> red?"},
        ],
        [{"from": "system", "value": "Be short."}, {"from": "human", "value": "Is <image> red?"}],
        {"role": ["system", "user"], "content": ["Be short.", "Is <image> red?"]},
        [
            {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Is "},
                    {"type": "image"},
                    {"type": "text", "text": " red?"},
                ],
            },
        ],
    ],
)
@pytest.mark.parametrize("field", ["messages", "conversations", "problem"])
def test_turns_of_every_form_become_a_question(field: str, turns: Any) -> None:
    row = unfolded({field: turns, "answer": "yes"})
    assert {name: row[name] for name in (*ASKED, "answer")} == ASKED | {"answer": "yes"}


def test_what_is_said_before_is_history_and_what_follows_the_answer() -> None:
    turns = [("human", "hi"), ("gpt", "hello"), ("human", "two and two?"), ("gpt", "4")]
    row = unfolded({"conversations": [{"from": who, "value": text} for who, text in turns]})
    assert (row["history"], row["problem"], row["answer"]) == (
        (("user", "hi"), ("assistant", "hello")),
        "two and two?",
        "4",
    )
    assert (
        unfolded(
            {
                "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "4"}],
                "solution": "5",
            }
        ).get("answer")
        is None
    )


def test_images_of_parts_are_those_of_the_record_unless_it_has_some() -> None:
    parts = [
        {"type": "image", "image": "a.png"},
        {"type": "image_url", "image_url": {"url": "b.png"}},
        {"type": "text", "text": "Which?"},
    ]
    row = unfolded({"messages": [{"role": "user", "content": parts}]})
    assert (row["problem"], row["images"]) == ("<image><image>Which?", ["a.png", "b.png"])
    assert unfolded({"messages": [{"role": "user", "content": parts}], "images": ["c", "d"]})[
        "images"
    ] == ["c", "d"]


def test_a_record_without_turns_is_itself() -> None:
    row = {"problem": "Which?", "messages": None}
    assert unfolded(row) is row


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (
            [{"role": "tool", "content": "x"}],
            "messages: turn 1: expected a role out of system, user, .* got 'tool'",
        ),
        (["x"], "messages: turn 1: expected an object with role and content, got 'x'"),
        (
            [{"role": "user", "content": 7}],
            "messages: turn 1: expected a text or a list of parts, got '7'",
        ),
        (
            [{"role": "user", "content": [{"type": "video"}]}],
            "messages: turn 1: expected parts of type text or image",
        ),
        (
            [{"role": "assistant", "content": "x"}],
            "messages: expected a turn of the user, got roles",
        ),
        (7, "messages: expected a list of turns, got int"),
    ],
)
def test_turns_that_cannot_be_used_are_named(turns: Any, message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        unfolded({"messages": turns})
