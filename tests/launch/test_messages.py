"""Messages of ranks as JSON, and back."""

import json

import pytest

from g2rpo.launch.member import Member
from g2rpo.launch.messages import (
    Closed,
    Failed,
    Left,
    Report,
    Stuck,
    Verdict,
    Working,
    packed,
    unpacked,
)

SILENT = (Member(rank=3, world_size=4, host="node1", pid=7, born=99),)


@pytest.mark.parametrize(
    "message",
    [
        SILENT[0],
        Failed("no memory\n\u2026", echo=True, code=3),
        Stuck(7, "main (a.py:3)", waits=True, silent_s=0.25),
        Verdict("words", speaker=2, code=5, silent=SILENT),
        Working("chart, ocr"),
        Left(),
        Report(),
        Closed(),
    ],
)
def test_a_message_comes_back_as_it_was(message) -> None:
    assert unpacked(json.loads(json.dumps(packed(message)))) == message


@pytest.mark.parametrize(
    "plain",
    [
        None,
        7,
        "text",
        [],
        {},
        {"kind": "os"},
        {"kind": "Failed"},
        {"kind": "Left", "more": 1},
        {"kind": "Verdict", "text": "", "silent": [{"no": 1}]},
        {"kind": []},
    ],
)
def test_anything_else_is_refused(plain) -> None:
    with pytest.raises(ConnectionAbortedError, match="expected a message of a rank"):
        unpacked(plain)
