import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from g2rpo.benchmark.refspatial import RefSpatial

ROW: dict[str, Any] = {"width": 640, "height": 480, "mask_rect": [300, 200, 400, 260]}
TWO = '[{"point_2d": [550, 480]}, {"point_2d": [10, 10]}]'
refspatial = RefSpatial()


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    image, mask = Image.new("RGB", (40, 20)), Image.new("L", (40, 20))
    mask.paste(7, (10, 5, 20, 15))  # any value above 0 counts
    image.save(tmp_path / "rgb.png")
    mask.save(tmp_path / "mask.png")
    return {
        "id": 3,
        "image": str(tmp_path / "rgb.png"),
        "mask": str(tmp_path / "mask.png"),
        "object": "cup",
        "prompt": "Point at the cup.",
        "suffix": "As tuples.",
        "step": 2,
        "split": "placement",
    }


@pytest.mark.parametrize(
    ("text", "paper", "official", "robust"),
    [
        ('[{"point_2d": [550, 480], "label": "p"}]', 1, 0, 1),
        ("[(0.55, 0.48), (0.1, 0.1)]", 1, 0.5, 1),
        ("[(0.1, 0.1), (0.55, 0.48)]", 1, 0.5, 0),
        ("(350, 230)", 1, 1, 0),
        ('<points x1="55.0" y1="48.0" alt="x">x</points>', 0, 1, 1),
        ('[{"point_2d": [350, 230]}]', 0, 0, 0),
        ("[10, 10], [550, 480]", 0, 0, 0),
        ("(290, 190, 310, 210)", 0.25, 0.25, 0),
        ("<thinking>(0.1, 0.1)</thinking><answer>(0.55, 0.48)</answer>", 1, 1, 1),
        ("I think <answer>[550, 480]</answer>", 0, 0, 1),
    ],
)
def test_three_protocols(text: str, paper: float, official: float, robust: float) -> None:
    scores = [
        refspatial.score(text, ROW, protocol=protocol)
        for protocol in ("paper", "official", "robust")
    ]
    assert scores == pytest.approx([paper, official, robust])


def test_a_row_that_names_a_class_of_vlmevalkit_is_scored_by_it() -> None:
    by = {
        name: ROW | {"source": f"vlmeval/dataset/x.py:{name}._parse"}
        for name in ("RefSpatialBench", "RefSpatialDataset")
    }
    assert [refspatial.score(TWO, by[name]) for name in by] == [0.5, 1.0]
    assert refspatial.score(TWO, ROW) == 1.0
    assert [refspatial.score('[{"point": [480, 550]}]', by[name]) for name in by] == [0.0, 1.0]


def test_points_outside_are_moved_to_the_border_by_the_paper_only() -> None:
    row = ROW | {"mask_rect": [600, 0, 640, 480]}
    assert [
        refspatial.score('[{"point_2d": [1.2, 0.5]}]', row, protocol=p) for p in ("paper", "robust")
    ] == [1.0, 0.0]


def test_a_record_of_the_hub_becomes_a_row_that_scores_by_its_mask(record: dict[str, Any]) -> None:
    row = refspatial.row(record)
    assert (row["id"], row["category"], row["width"], row["height"]) == (
        "placement/3",
        "placement",
        40,
        20,
    )
    assert [
        refspatial.score(f"({x}, {y})", row, protocol="official")
        for x, y in ((10, 5), (19, 14), (20, 14), (19, 15))
    ] == [1, 1, 0, 0]
    assert refspatial.score('[{"point_2d": [300, 500]}]', row) == 1.0


def test_a_mask_may_be_a_picture_of_any_mode(record: dict[str, Any]) -> None:
    gray = Image.open(record["mask"]).point(lambda value: 255 if value else 0)
    for mode in ("1", "L", "P", "RGB", "RGBA", "I", "LA"):
        row = refspatial.row(record | {"mask": gray.convert(mode)})
        assert [
            refspatial.score(text, row, protocol="official") for text in ("(12, 8)", "(2, 8)")
        ] == [1.0, 0.0]


def test_prompts_carry_the_instruction_of_their_protocol(record: dict[str, Any]) -> None:
    row = refspatial.row(record)
    prompt = refspatial.prompt(row)
    assert prompt.text.startswith(
        "Point at the cup. Output the point coordinates in JSON format.\n"
    )
    assert (prompt.task, prompt.images, prompt.id) == (
        "spatial",
        (record["image"],),
        "refspatial/placement/3",
    )
    assert refspatial.prompt(row, protocol="official").text == "Point at the cup. As tuples."


def test_unseen_rows_take_no_part_in_the_usual_mean(record: dict[str, Any]) -> None:
    assert refspatial.subscores(refspatial.row(record)) == [
        "category/placement",
        "set/without_unseen",
    ]
    assert refspatial.subscores(refspatial.row(record | {"split": "unseen"})) == ["category/unseen"]


@pytest.mark.parametrize("column", ["image", "mask", "prompt", "split"])
def test_a_missing_column_is_named(column: str, record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=column):
        refspatial.row({name: value for name, value in record.items() if name != column})


def test_a_mask_of_another_size_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected 40 x 20 pixels"):
        refspatial.row(record | {"mask": Image.new("L", (20, 40))})


def test_the_centres_of_real_masks_score(shared: Path) -> None:
    folder = shared / "fixtures" / "refspatial"
    for record in json.loads((folder / "rows_synthetic.json").read_text()):
        row = refspatial.row(
            record | {"image": folder / record["image"], "mask": folder / record["mask"]}
        )
        assert (row["width"], row["height"]) == (record["width"], record["height"])
        completion = json.dumps([{"point_2d": record["centre_0_1000"]}])
        assert [refspatial.score(completion, row, protocol=p) for p in ("paper", "robust")] == [
            1.0,
            1.0,
        ]
        assert refspatial.score(str(tuple(record["centre_norm"])), row, protocol="official") == 1.0
