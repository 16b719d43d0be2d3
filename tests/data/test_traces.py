from typing import Any

import pytest

from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate
from g2rpo.data.traces import Traces

TEMPLATE = PromptTemplate(instruction="", hints={})
SAID = "<think>two</think><answer>2</answer>"
TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": SAID},
]


def own(**tasks: str) -> Traces:
    return Traces(format=OwnFormat(tasks=tasks, template=TEMPLATE))


@pytest.mark.parametrize(
    "row",
    [
        {"text": "1+1?", "completion": SAID},
        {"text": "1+1?", "completion": [{"role": "assistant", "content": SAID}]},
        {"messages": TURNS},
        {"messages": TURNS[:4], "completion": SAID},
        {"text": "1+1?", "completion": SAID, "answer": "2", "answer_type": "numerical"},
    ],
)
def test_a_completion_comes_from_its_field_or_the_last_turn(row: dict[str, Any]) -> None:
    traces = own()
    traces.check(row)
    assert not traces.unread(row)
    prompt = traces.prompt(row, id="1", meta={"line": 3})
    assert (traces.demonstrate(prompt), prompt.meta["line"]) == (SAID, 3)
    assert prompt.text.strip() == "1+1?"
    assert prompt.task == traces.task(row) == "traces"
    if "messages" in row:
        assert (prompt.system, list(prompt.history)) == (
            "be brief",
            [("user", "hello"), ("assistant", "hi")],
        )


def test_the_task_of_a_record_is_kept_also_under_another_name() -> None:
    row = {"text": "1+1?", "completion": SAID, "task": "sums"}
    assert own().task(row) == "sums"
    assert own(sums="math").task(row) == "math"
    read = Traces(format=OneThinkerFormat(tasks={"OCR": "document"}, template=TEMPLATE))
    row = {"problem": "what is written?", "problem_type": "OCR", "completion": "stop"}
    read.check(row)
    assert (read.task(row), read.task({**row, "problem_type": "math"})) == ("document", "traces")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "1+1?"}, "^completion: expected the text to imitate, or messages that end"),
        ({"text": "1+1?", "completion": "  "}, "^completion: expected the text .* got '  '"),
        ({"messages": TURNS[:4]}, "^completion: expected .* a turn of the assistant, got 'None'"),
        ({"completion": SAID}, "^text: missing; expected the fields"),
        ({"text": "1+1?", "completion": SAID, "task": "macro"}, "^task: .* the mean over tasks"),
    ],
)
def test_a_record_without_a_completion_or_a_question_is_refused(
    row: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRecord, match=message):
        _ = own().check(row) or own().task(row)
