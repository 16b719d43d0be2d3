import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from g2rpo.benchmark.robospatial import RoboSpatial

LEANING = "[(0.40, 0.41), (0.60, 0.40), (0.61, 0.60), (0.41, 0.61)]"
UPRIGHT = "[(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)]"
PROTOCOLS = ("paper", "official", "robust")
robospatial = RoboSpatial()


def _scores(text: str, answer: str) -> list[float]:
    row = {"answer": answer, "binary": answer in ("yes", "no"), "width": 640, "height": 480}
    return [robospatial.score(text, row, protocol=protocol) for protocol in PROTOCOLS]


@pytest.mark.parametrize(
    ("text", "answer", "paper", "official", "robust"),
    [
        ("Not possible", "no", 1, 1, 1),
        ("The answer is yes", "yes", 0, 0, 1),
        ("<answer>yes</answer>", "yes", 0, 0, 1),
        ("<thinking>no?</thinking><answer>yes</answer>", "yes", 1, 1, 1),
        ("**Yes**", "yes", 0, 0, 1),
        ("I know", "no", 0, 0, 0),
        ("yes\nbecause there is no obstacle", "yes", 1, 1, 1),
        ('[{"point_2d": [500, 500], "label": "p"}]', LEANING, 1, 0, 1),
        ('[{"point_2d": [900, 900]}, {"point_2d": [500, 500]}]', LEANING, 0, 0, 0),
        ('[{"point_2d": [500, 500]}]', UPRIGHT, 0, 0, 1),
        ("(0.5, 0.5)", UPRIGHT, 0, 1, 1),
        ("(0.6, 0.6)", UPRIGHT, 0, 0, 1),  # on the edge
        ("(320, 240)", LEANING, 1, 0, 0),
        ("[0.5, 0.5]", LEANING, 0, 1, 1),
    ],
)
def test_three_protocols(
    text: str, answer: str, paper: float, official: float, robust: float
) -> None:
    assert _scores(text, answer) == [paper, official, robust]


@pytest.fixture
def record() -> dict[str, Any]:
    question = "Point in the free space left of the box. Your answer should be a list of tuples."
    return {
        "category": "context",
        "question": question,
        "answer": LEANING,
        "img": Image.new("RGB", (8, 6)),
        "depth_image": None,
        "mask": None,
        "index": 4,
    }


def test_a_record_of_the_hub_becomes_a_row(record: dict[str, Any]) -> None:
    row = robospatial.row(record)
    assert (row["id"], row["binary"], row["width"], row["height"]) == ("context/4", False, 8, 6)
    assert robospatial.subscores(row) == ["category/context"]
    assert robospatial.prompt(row, protocol="official").text == record["question"]
    assert robospatial.prompt(row).text.startswith(
        "Point in the free space left of the box.\n\nOutput the point"
    )
    binary = robospatial.row(
        record
        | {
            "answer": "Yes",
            "category": "compatibility",
            "question": "Does it fit? Answer yes or no.",
        }
    )
    assert (binary["answer"], binary["binary"]) == ("yes", True)
    assert robospatial.prompt(binary).text == "Does it fit? Answer yes or no."


@pytest.mark.parametrize("column", ["img", "answer", "question", "category"])
def test_a_missing_column_is_named(column: str, record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=column):
        robospatial.row(record | {column: None})


@pytest.mark.parametrize(
    "answer", ["maybe", "[(0.1, 0.2), (0.3, 0.4)]", "[(0.1, 0.2), (0.3, 0.4), 5]", "exit()"]
)
def test_an_answer_that_is_neither_yes_nor_a_polygon_is_refused(
    answer: str, record: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="expected yes, no or a list of at least three"):
        robospatial.row(record | {"answer": answer})


def test_real_records_become_rows(shared: Path) -> None:
    folder = shared / "fixtures" / "robospatial"
    records = json.loads((folder / "rows_synthetic.json").read_text())
    rows = [
        robospatial.row(record | {"img": folder / record["img"], "index": n})
        for n, record in enumerate(records)
    ]
    assert [row["binary"] for row in rows] == [False, True, True]
    assert [
        robospatial.score("(0.2, 0.5)", rows[0], protocol=protocol) for protocol in PROTOCOLS
    ] == [1, 1, 1]
