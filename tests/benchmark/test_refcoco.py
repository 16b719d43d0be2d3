import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from g2rpo.benchmark.refcoco import RefCoco

GRID_ROW: dict[str, Any] = {
    "answer": [100, 100, 500, 500],
    "box_format": "0-1000",
    "width": 640,
    "height": 480,
}
PIXEL_ROW = GRID_ROW | {"answer": [64, 48, 320, 240], "box_format": "pixels"}
IMAGE = Image.new("RGB", (200, 100))
refcoco = RefCoco()


@pytest.mark.parametrize("row", [GRID_ROW, PIXEL_ROW])
@pytest.mark.parametrize(
    ("text", "paper", "vlmevalkit", "robust"),
    [
        ('<answer>{"boxes": [100, 100, 500, 500]}</answer>', 1, 1, 1),
        ('<answer>{"boxes": [100, 100, 300, 500]}</answer>', 1, 1, 1),  # IoU exactly one half
        ('<answer>{"boxes": [100, 100, 299, 500]}</answer>', 0, 0, 0),
        ('<answer>{"boxes": [500, 500, 100, 100]}</answer>', 0, 1, 1),
        (
            '<thinking>[1, 2, 3, 4]</thinking><answer>[{"bbox_2d": [100, 100, 500, 500]}]</answer>',
            0,
            1,
            1,
        ),
        (
            '[{"bbox_2d": [0, 0, 9, 9]}, {"bbox_2d": [100, 100, 500, 500]}]',
            0,
            0,
            0,
        ),  # the first box only
        ("[0.1, 0.1, 0.5, 0.5]", 0, 1, 0),
        ("[64, 48, 320, 240]", 0, 0, 0),
        ("100, 100, 500, 500", 0, 1, 1),
        ("100 100 500 500", 0, 1, 1),
    ],
)
def test_three_protocols_whatever_the_unit_of_the_gold_box(
    text: str, paper: float, vlmevalkit: float, robust: float, row: dict[str, Any]
) -> None:
    scores = [
        refcoco.score(text, row, protocol=protocol)
        for protocol in ("paper", "vlmevalkit", "robust")
    ]
    assert scores == [paper, vlmevalkit, robust]


@pytest.mark.parametrize(
    ("coordinates", "box"),
    [
        ("permille", [100, 100, 500, 500]),
        ("pixel", [64, 48, 320, 240]),
        ("unit", [0.1, 0.1, 0.5, 0.5]),
    ],
)
def test_the_unit_of_a_model_is_given_and_not_guessed(coordinates: Any, box: list[float]) -> None:
    benchmarks = {unit: RefCoco(coordinates=unit) for unit in ("permille", "pixel", "unit")}
    scores = {
        unit: benchmark.score(
            f"<answer>{json.dumps({'boxes': box})}</answer>", PIXEL_ROW, protocol="robust"
        )
        for unit, benchmark in benchmarks.items()
    }
    assert scores == {"permille": 0.0, "pixel": 0.0, "unit": 0.0} | {coordinates: 1.0}


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"benchmark\.coordinates: expected one of permille, pixel, unit, got 'percent'",
    ):
        RefCoco(coordinates="percent")


ASKED = "Please provide the bounding box coordinate of the region this sentence describes: "
ONETHINKER = {
    "problem_id": 7,
    "problem": f"<image> {ASKED}a red hat.",
    "solution": '<answer>{"boxes": [10, 20, 300, 400]}</answer>',
    "path": IMAGE,
}
TSV = {"index": "5", "image": IMAGE, "question": "a red hat", "category": "RefCOCO+ testA"}
TABLE = {
    "question_id": "9",
    "image": IMAGE,
    "answer": ["a red hat", "hat"],
    "bbox": [2.0, 2.0, 58.0, 38.0],
    "split": "val",
}


@pytest.mark.parametrize(
    ("record", "answer", "box_format", "split"),
    [
        (ONETHINKER, [10, 20, 300, 400], "0-1000", ""),
        (
            TSV | {"bbox_x1": "2", "bbox_y1": "2", "bbox_x2": "60", "bbox_y2": "40"},
            [2, 2, 60, 40],
            "pixels",
            "testA",
        ),
        (
            TSV | {"answer": "[2, 2, 60, 40]", "category": "RefCOCOg_test"},
            [2, 2, 60, 40],
            "pixels",
            "test",
        ),
        (TSV | {"answer": "[0.01, 0.02, 0.3, 0.4]"}, [2, 2, 60, 40], "pixels", "testA"),
        (TABLE, [2, 2, 60, 40], "pixels", "val"),
    ],
)
def test_records_of_every_origin_become_the_same_row(
    record: dict[str, Any], answer: list[float], box_format: str, split: str
) -> None:
    row = refcoco.row(record)
    assert row["answer"] == pytest.approx(answer)
    assert (row["box_format"], row["split"], row["width"], row["height"]) == (
        box_format,
        split,
        200,
        100,
    )
    assert row["question"].startswith("a red hat")
    assert refcoco.score('{"boxes": [10, 20, 300, 400]}', row) == 1.0


def test_prompts_ask_for_the_sentence() -> None:
    row = refcoco.row(ONETHINKER)
    assert refcoco.prompt(row).text.startswith(f"{ASKED}a red hat.\n")
    assert refcoco.prompt(row, protocol="vlmevalkit").text == f"{ASKED}<ref>a red hat</ref>"
    assert refcoco.subscores(refcoco.row(TSV | {"answer": "[2, 2, 60, 40]"})) == ["split/testa"]


@pytest.mark.parametrize("column", ["solution", "problem", "path"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(ValueError, match=column):
        refcoco.row(ONETHINKER | {column: ""})


@pytest.mark.parametrize(
    "solution",
    [
        "[1, 2, 3, 4]",
        '{"boxes": [1, 2, 3]}',
        '{"boxes": [9, 9, 1, 1]}',
        '{"boxes": [1, 2, 3, NaN]}',
    ],
)
def test_a_gold_answer_that_is_no_box_is_refused(solution: str) -> None:
    with pytest.raises(ValueError, match="expected a box"):
        refcoco.row(ONETHINKER | {"solution": solution})


def test_real_records_become_rows(shared: Path) -> None:
    records = json.loads(
        (shared / "fixtures" / "refcoco" / "rows_onethinker_format.json").read_text()
    )
    rows = [refcoco.row(record | {"images": [IMAGE]}) for record in records]
    assert rows[0]["answer"] == [577, 232, 899, 786]
    assert rows[0]["question"] == "a lady wearing a rice picking hat and a blue shirt"
    assert [
        refcoco.score(record["answer"], row) for record, row in zip(records, rows, strict=True)
    ] == [1.0] * len(records)
