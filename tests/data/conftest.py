"""Records in the format of OneThinker with their images, written by the tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    """`record(7, answer="3")`: a usable row with some fields replaced."""

    def build(number: int = 1, **fields: Any) -> dict[str, Any]:
        return {
            "problem_id": number,
            "problem": f"<image> How many things? ({number})",
            "data_type": "image",
            "problem_type": "numerical",
            "task_type": "math_reasoning",
            "options": [],
            "answer": f"<answer>{number}</answer>",
            "images": [f"images/{number}.png"],
            "data_source": "made",
        } | fields

    return build


@pytest.fixture
def shelf(tmp_path: Path) -> Callable[..., Path]:
    """`shelf(rows)`: writes `rows.json` and a picture for every image that the rows name; returns
    the folder.
    """

    def build(rows: list[dict[str, Any]], name: str = "rows.json") -> Path:
        for row in rows:
            for number, image in enumerate(row.get("images", [])):
                path = tmp_path / image
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40 + 8 * number, 60), (10 * number, 20, 30)).save(path)
        text = (
            json.dumps(rows, indent=1)
            if name.endswith(".json")
            else "\n".join(map(json.dumps, rows))
        )
        (tmp_path / name).write_text(text)
        return tmp_path

    return build
