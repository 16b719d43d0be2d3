"""Records are found with their place, whatever the layout of the file, and read back one at a
time.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.data import rows
from g2rpo.data.rows import BadRecord, Place, read_row, rows_of

RECORDS = [
    {"id": 1, "text": "größer?"},
    {"id": 2, "text": 'brace } and "quote" [', "list": [1, {"x": []}]},
    {"id": 3, "text": "漢字\n"},
]
LAYOUTS = {
    "indented": json.dumps(RECORDS, indent=2, ensure_ascii=False),
    "escaped": json.dumps(RECORDS),
    "one line each": (
        "[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in RECORDS) + "\n]\n"
    ),
    "with a byte order mark": "\ufeff" + json.dumps(RECORDS),
    "blank around": "\n\n  " + json.dumps(RECORDS) + "\n\n",
}


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "rows.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def good(path: Path) -> list[tuple[Place, dict[str, Any]]]:
    found = list(rows_of(path))
    assert all(isinstance(row, dict) for _, row in found)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [3, 50, 1 << 20])
def test_a_list_gives_its_records_and_each_can_be_read_alone(
    layout: str, chunk: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(rows, "CHUNK_CHARS", chunk)
    path = written(tmp_path, LAYOUTS[layout])
    found = good(path)
    assert [row for _, row in found] == RECORDS
    assert [read_row(path, place) for place, _ in reversed(found)] == RECORDS[::-1]


def test_a_place_names_the_line_on_which_a_record_begins(tmp_path: Path) -> None:
    path = written(tmp_path, '[\n {"a": 1},\n\n {"b":\n 2}, {"c": "é"}\n]')
    assert [place.line for place, _ in good(path)] == [2, 4, 5]


def test_lines_are_numbered_from_one_and_empty_ones_count(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n\n{"b": "ü"}\r\n{"c": 3}')
    found = good(path)
    assert [(place.line, row) for place, row in found] == [
        (1, {"a": 1}),
        (3, {"b": "ü"}),
        (4, {"c": 3}),
    ]
    assert [read_row(path, place) for place, _ in found] == [{"a": 1}, {"b": "ü"}, {"c": 3}]


def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": 1}\n{"b": \n\xff\xfe{"c"\n[4]\n{"e": 5}\n')
    found = list(rows_of(path))
    assert [row for _, row in found if isinstance(row, dict)] == [{"a": 1}, {"e": 5}]
    messages = [str(row) for _, row in found if isinstance(row, BadRecord)]
    assert [message.removeprefix(f"{path}, ") for message in messages] == [
        "line 2: not JSON (Expecting value at column 7)",
        "line 3: not UTF-8 (invalid start byte at byte 0 of the line)",
        "line 4: expected an object, got list",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"a": 1},\n {"b": 2', r"rows\.json, line 2: not JSON .* is the file cut off"),
        (b'[{"a": 1},\n', r"rows\.json, line 2: the list is not closed"),
        (b'[{"a": 1},\n{"b": 2}\n{"c" 3}]', r"rows\.json, line 3: not JSON"),
        (b'[{"a": 1},\n{"b": "\xff"}]', r"rows\.json, after line 1: not UTF-8"),
    ],
)
def test_a_broken_list_ends_the_reading_with_the_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadRecord, match=message):
        list(rows_of(written(tmp_path, content)))


def test_a_mistake_early_in_a_large_list_is_found_without_reading_the_rest(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(rows, "CHUNK_CHARS", 200)
    path = written(tmp_path, '[{"a" 1}, ' + " " * 1_000_000 + "]")
    asked = []
    whole = rows._Window._more
    monkeypatch.setattr(rows._Window, "_more", lambda self: asked.append(1) or whole(self))
    with pytest.raises(BadRecord, match="line 1: not JSON"):
        list(rows_of(path))
    assert len(asked) == 1


PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=50, deadline=None)
@given(
    records=st.lists(
        st.dictionaries(PLAIN_TEXT, PLAIN_TEXT | st.integers() | st.booleans(), max_size=3),
        max_size=6,
    ),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_any_records_come_back_from_any_layout(
    records: list[dict[str, Any]],
    indent: int | None,
    ascii_only: bool,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = written(
        tmp_path_factory.mktemp("any"), json.dumps(records, indent=indent, ensure_ascii=ascii_only)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK_CHARS", chunk)
        found = good(path)
    assert [row for _, row in found] == records
    assert [read_row(path, place) for place, _ in found] == records


@pytest.mark.parametrize("indent", [None, 1])
def test_one_object_around_the_records_is_refused_with_its_keys(
    indent: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": 1, "data": [{"id": 1}]}, indent=indent))
    with pytest.raises(
        BadRecord,
        match=(
            r"rows\.json: expected a list of records, found one object with the keys 'version',"
            r" 'data'; keep only the list under 'data'"
        ),
    ):
        list(rows_of(path))


@pytest.mark.parametrize(
    "text",
    [
        '{"messages": [{"role": "user"}]}',
        '{"data": [{"id": 1}]}\n{"data": [{"id": 2}]}\n',
        '{"a": 1}\n{"b": \n',
    ],
)
def test_one_object_a_line_is_a_record_even_if_it_holds_lists(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    assert len(list(rows_of(path))) == len(text.splitlines())
