import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.benchmark.columns import size_px
from g2rpo.benchmark.rows.folder import FolderRows


@pytest.fixture
def folder(tmp_path: Path, png: Callable[..., bytes]) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png(5, 4))
    lines = [
        {"id": "x", "question": "?", "image": "pictures/a.png"},
        {"question": "?", "images": ["pictures/a.png", "pictures/a.png"], "image": None},
        {"id": "z", "question": "?", "image": "pictures/b.png"},
    ]
    (tmp_path / "some.jsonl").write_text(
        "\n".join(map(json.dumps, lines)) + '\n\n{"id":\n[1]\n', encoding="utf-8"
    )
    return tmp_path


def test_images_are_found_beside_the_file(folder: Path, named: Callable[..., Any]) -> None:
    read = [
        record
        for _, record in FolderRows(folder=str(folder)).records(named("some"))
        if type(record) is dict
    ]
    assert size_px(read[0]["image"]) == (5, 4)
    assert read[1]["images"] == [str(folder / "pictures" / "a.png")] * 2
    assert [read[0].get("index"), read[1]["index"]] == [None, 1]


def test_unusable_records_have_a_place_and_a_reason(
    folder: Path, named: Callable[..., Any]
) -> None:
    broken = {
        place: record.reason
        for place, record in FolderRows(folder=str(folder)).records(named("some"))
        if type(record) is not dict
    }
    assert list(broken) == ["some.jsonl, line 3", "some.jsonl, line 5", "some.jsonl, line 6"]
    words = ["no such file: ", "not JSON", "expected an object, got list"]
    assert all(word in reason for word, reason in zip(words, broken.values(), strict=True))


def test_files_of_a_published_folder_are_found_with_their_splits(
    folder: Path, named: Callable[..., Any]
) -> None:
    for split in ("val", "testA"):
        (folder / f"eval_otherp_{split}.json").write_text(
            json.dumps([{"problem_id": 0, "path": "pictures/a.png"}])
        )
    other = named("other", folder={"files": "eval_otherp_*.json"})
    found = list(FolderRows(folder=str(folder)).records(other))
    assert [(place, record["split"]) for place, record in found] == [
        ("eval_otherp_testA.json, record 1", "testA"),
        ("eval_otherp_val.json, record 1", "val"),
    ]
    (folder / "other.jsonl").write_text('{"id": "own"}')
    assert [dict(record) for _, record in FolderRows(folder=str(folder)).records(other)] == [
        {"id": "own"}
    ]


def test_a_missing_file_is_named(folder: Path, named: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"no file other.jsonl in .* for benchmark other"):
        list(FolderRows(folder=str(folder)).records(named("other")))


def test_a_pattern_without_the_benchmark_is_refused() -> None:
    with pytest.raises(ValueError, match=r"eval\.rows\.files: expected a pattern"):
        FolderRows(folder=".", files="rows.jsonl")


def test_a_broken_list_is_refused_with_its_path(tmp_path: Path, named: Callable[..., Any]) -> None:
    (tmp_path / "some.jsonl").write_text('[{"id": 1}, ')
    with pytest.raises(ValueError, match=r"some.jsonl: not JSON .*fix the file"):
        list(FolderRows(folder=str(tmp_path)).records(named("some")))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("embspatial", "rows_readme.json"),
        ("mathverse", "rows_text_only.json"),
        ("mathvision", "rows.json"),
        ("mmbench", "rows.json"),
        ("refspatial", "rows_synthetic.json"),
        ("robospatial", "rows_synthetic.json"),
    ],
)
def test_published_rows_load(name: str, files: str, shared: Path, root: Path) -> None:
    benchmark = instantiate(OmegaConf.load(root / "conf" / "benchmark" / f"{name}.yaml"))
    found = list(
        FolderRows(folder=str(shared / "fixtures"), files=f"{{benchmark}}/{files}").records(
            benchmark
        )
    )
    rows = [benchmark.row(record) for _, record in found if type(record) is dict]
    absent = [
        Path(record.reason.rpartition(": ")[2]) for _, record in found if type(record) is not dict
    ]
    assert (
        len(found)
        == len(json.loads((shared / "fixtures" / name / files).read_text()))
        > len(absent)
    )
    assert not any(path.exists() for path in absent)
    assert len({row["id"] for row in rows}) == len(rows)
    sizes = [size_px(image) for row in rows for image in row["images"]]
    assert bool(sizes) == (name not in ("embspatial", "mathverse"))


@pytest.mark.parametrize(
    ("name", "files", "image"),
    [
        ("refcoco", "rows_onethinker_format.json", ("images", ["i.png"])),
        ("ocrbench", "rows.json", ("image_path", "i.png")),
        ("mathverse", "rows_testmini_with_model_answer.json", ("image", "i.png")),
    ],
)
def test_published_rows_load_with_images_of_ours(
    name: str,
    files: str,
    image: tuple[str, Any],
    shared: Path,
    tmp_path: Path,
    png: Callable[..., bytes],
    root: Path,
) -> None:
    (tmp_path / "i.png").write_bytes(png(8, 8))
    records = [
        record | dict([image])
        for record in json.loads((shared / "fixtures" / name / files).read_text())
    ]
    (tmp_path / f"{name}.json").write_text(json.dumps(records))
    benchmark = instantiate(OmegaConf.load(root / "conf" / "benchmark" / f"{name}.yaml"))
    rows = [
        benchmark.row(record)
        for _, record in FolderRows(folder=str(tmp_path), files="{benchmark}.json").records(
            benchmark
        )
    ]
    assert [row["images"] for row in rows] == [[str(tmp_path / "i.png")]] * len(records)
