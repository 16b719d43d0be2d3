"""Rows of a stored data set without their bytes."""

from typing import Any

import datasets

from g2rpo.data.arrow_rows import records_of

FEATURES = datasets.Features(
    text=datasets.Value("string"),
    one=datasets.Image(decode=False),
    many=datasets.List(datasets.Image(decode=False)),
    raw=datasets.Value("binary"),
    said=datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")}),
)
ROWS: list[dict[str, Any]] = [
    {
        "text": "a",
        "one": {"bytes": b"12", "path": None},
        "many": [{"bytes": b"", "path": "p"}, {"bytes": b"123", "path": None}],
        "raw": b"1",
        "said": [{"role": "user", "content": "hi"}],
    },
    {"text": None, "one": None, "many": [], "raw": b"", "said": []},
    {"text": "c", "one": {"bytes": None, "path": "q"}, "many": None, "raw": None, "said": None},
]


def short(value: Any) -> Any:
    """The same with `x` for bytes, by another road."""
    if isinstance(value, bytes):
        return b"x" if value else b""
    if isinstance(value, dict):
        return {name: short(inner) for name, inner in value.items()}
    return [short(inner) for inner in value] if isinstance(value, list) else value


def test_records_are_those_of_the_set_with_their_bytes_cut_short() -> None:
    made = datasets.Dataset.from_list(ROWS, features=FEATURES)
    assert list(records_of(made)) == [short(row) for row in made]
    shuffled = made.select([2, 0])
    assert [record["text"] for record in records_of(shuffled)] == ["c", "a"]
    assert list(records_of(shuffled)) == [short(row) for row in shuffled]
