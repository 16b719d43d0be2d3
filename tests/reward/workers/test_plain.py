"""Prompts come back from JSON as they were, or the object that cannot travel is named."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.prompt import Prompt
from g2rpo.reward.workers.plain import KIND, VALUE, plain_prompt, prompt_of

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
)
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text()) | st.sampled_from([KIND])
VALUES = st.recursive(
    LEAVES,
    lambda own: (
        st.lists(own)
        | st.lists(own).map(tuple)
        | st.dictionaries(KEYS, own)
        | st.sets(st.integers() | st.text())
    ),
    max_leaves=8,
)


def prompt(**others: Any) -> Prompt:
    needed = {"id": "a/1", "task": "math", "text": "?", "images": (), "answer": "2"}
    return Prompt(**(needed | {"answer_type": "numerical"} | others))


def back(own: Prompt) -> Prompt:
    return prompt_of(json.loads(json.dumps(plain_prompt(own))))


def same(mine: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same types; 1 == True == 1.0 elsewhere."""
    if type(mine) is not type(other):
        return False
    if isinstance(mine, dict):
        return list(mine) == list(other) and all(same(mine[key], other[key]) for key in mine)
    if isinstance(mine, list | tuple):
        return len(mine) == len(other) and all(map(same, mine, other))
    return bool(mine == other)


@given(st.dictionaries(st.text(), VALUES))
def test_columns_come_back_with_their_types(columns: dict[str, Any]) -> None:
    found = back(prompt(columns=columns, meta={"deep": [columns]}))
    assert same(found.columns, columns)
    assert same(found.meta, {"deep": [columns]})


def test_all_fields_of_a_prompt_travel_and_of_images_only_paths() -> None:
    own = prompt(
        images=["a.png", object(), Path("b/c.png")],
        media="video",
        source="gym",
        system="Be brief.",
        history=(("user", "2 + 2?"), ("assistant", "4")),
    )
    found = back(own)
    assert found.images == ["a.png", Path("b/c.png")]
    for name in ("id", "task", "text", "answer", "answer_type", "media", "source", "system"):
        assert getattr(found, name) == getattr(own, name)
    assert found.history == own.history


def test_a_mapping_that_looks_like_a_kind_is_none() -> None:
    looks = {KIND: "decimal", VALUE: "1"}
    assert back(prompt(columns={"it": looks, "is": Decimal("1.10")})).columns == {
        "it": looks,
        "is": Decimal("1.10"),
    }


def test_numbers_of_numpy_become_pythons() -> None:
    found = back(prompt(columns={"n": np.int64(7), "x": np.float32(0.1), "y": np.float64(0.1)}))
    assert same(found.columns, {"n": 7, "x": float(np.float32(0.1)), "y": 0.1})


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ({"look": len}, "columns['look'] is a builtin_function_or_method"),
        ({"a": [1, {"b": object()}]}, "columns['a'][1]['b'] is a object"),
        ({"a": {1j}}, "an element of columns['a'] is a complex"),
        ({"a": {1j: 2}}, "a key of columns['a'] is a complex"),
    ],
)
def test_an_object_that_cannot_travel_is_named_with_its_place(
    columns: dict[str, Any], place: str
) -> None:
    with pytest.raises(TypeError) as caught:
        plain_prompt(prompt(columns=columns))
    assert str(caught.value) == f"{place}; keep in it only what JSON has"
