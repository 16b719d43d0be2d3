import base64
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.benchmark.columns import size_px
from g2rpo.benchmark.rows.tsv import TsvRows

COLUMNS = ("index", "question", "A", "B", "answer", "split", "image", "image_path")


@pytest.fixture
def table(tmp_path: Path, png: Callable[..., bytes]) -> Path:
    one, two = (
        base64.b64encode(png(90 + n, 80, color)).decode() for n, color in enumerate(("red", "blue"))
    )
    rows = [
        ("1", "None or\nnan?", "None", "NA", "A", "val", one, "1.jpg"),
        ("2", 'a "b"\tc', "nan", "", "A", "val", "1", ""),  # the image of row 1
        ("3", "two", "x", "y", "B", "val", f"['{one}', '{two}']", ""),
        ("4", "later", "x", "y", "B", "val", "6", ""),
        ("5", "dev", "x", "y", "B", "dev", one, ""),
        ("6", "blue", "x", "y", "B", "val", two, ""),
        ("7", "broken", "x", "y", "B", "val", one[:70] + "!" + one[71:], ""),
        ("8", "orphan", "x", "y", "B", "val", "99", ""),
        ("9", "beside", "x", "y", "B", "val", "", "pictures/9.png"),
        ("10", "beside, missing", "x", "y", "B", "val", "", "pictures/10.png"),
    ]
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "9.png").write_bytes(png(9, 9))
    with (tmp_path / "Some.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
        file.write("11\ttoo short\n")
    return tmp_path


def _read(folder: Path, named: Callable[..., Any], **address: Any) -> list[tuple[str, Any]]:
    rows = TsvRows(folder=str(folder), images=str(folder / "images"))
    return list(rows.records(named("some", tsv={"file": "Some", **address})))


def _sizes(image: Any) -> list[tuple[int, int]]:
    return [size_px(path) for path in ([image] if isinstance(image, str) else image)]


def test_every_kind_of_image_cell_becomes_paths(table: Path, named: Callable[..., Any]) -> None:
    read = {record["index"]: record for _, record in _read(table, named) if type(record) is dict}
    sizes = {index: _sizes(record["image"]) for index, record in read.items() if record["image"]}
    assert sizes == {
        "1": [(90, 80)],
        "2": [(90, 80)],
        "3": [(90, 80), (91, 80)],
        "4": [(91, 80)],
        "5": [(90, 80)],
        "6": [(91, 80)],
    }
    assert read["1"]["image"] == read["2"]["image"]
    assert _sizes(read["9"]["image_path"]) == [(9, 9)]
    assert "image_path" not in read["1"]


def test_words_like_none_stay_text_and_empty_cells_are_none(
    table: Path, named: Callable[..., Any]
) -> None:
    read = [record for _, record in _read(table, named) if type(record) is dict]
    assert [read[0][name] for name in ("question", "A", "B")] == ["None or\nnan?", "None", "NA"]
    assert [read[1][name] for name in ("question", "A", "B")] == ['a "b"\tc', "nan", None]


def test_unusable_records_have_a_place_and_a_reason(table: Path, named: Callable[..., Any]) -> None:
    broken = {
        place: record.reason for place, record in _read(table, named) if type(record) is not dict
    }
    assert [place for place in broken] == [
        "Some.tsv, line 9",
        "Some.tsv, line 12",
        "Some.tsv, line 13",
        "Some.tsv, line 10",
    ]
    reasons = list(broken.values())
    assert "base64" in reasons[0]
    assert "no such file" in reasons[1]
    assert "expected 8 cells, got 2" in reasons[2]
    assert "index '99'" in reasons[3]


def test_only_rows_that_belong_to_the_benchmark_are_given(
    table: Path, named: Callable[..., Any]
) -> None:
    indices = [
        record["index"]
        for _, record in _read(table, named, where={"split": ["dev"]})
        if type(record) is dict
    ]
    assert indices == ["5"]


def test_a_row_becomes_a_row_of_the_benchmark(table: Path, named: Callable[..., Any]) -> None:
    benchmark = named("some", tsv={"file": "Some"})
    _, record = next(
        iter(TsvRows(folder=str(table), images=str(table / "images")).records(benchmark))
    )
    row = benchmark.row(record)
    assert (row["choices"], row["answer"]) == ({"A": "None", "B": "NA"}, "A")
    assert size_px(row["images"][0]) == (90, 80)


def test_cells_larger_than_csv_allows_by_default_are_read(
    tmp_path: Path, named: Callable[..., Any]
) -> None:
    (tmp_path / "Some.tsv").write_text(f"index\tquestion\n1\t{'x' * 300_000}\n")
    assert [len(record["question"]) for _, record in _read(tmp_path, named)] == [300_000]


def test_a_missing_file_is_named_with_those_that_are_there(
    table: Path, named: Callable[..., Any]
) -> None:
    with pytest.raises(
        ValueError,
        match=r"eval.rows.folder: benchmark some needs .*Other.tsv; the folder has Some.tsv",
    ):
        _read(table, named, file="Other")


def test_a_benchmark_without_a_tsv_file_is_told_so(
    tmp_path: Path, named: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="benchmark some names no TSV file"):
        list(TsvRows(folder=str(tmp_path), images=str(tmp_path)).records(named("some")))


def test_a_file_without_names_of_columns_is_refused(
    tmp_path: Path, named: Callable[..., Any]
) -> None:
    (tmp_path / "Some.tsv").write_text("1\twhat?\n")
    with pytest.raises(ValueError, match="line 1: expected the names of the columns"):
        _read(tmp_path, named)
