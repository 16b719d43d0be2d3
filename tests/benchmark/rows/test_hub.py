import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.benchmark.columns import size_px
from g2rpo.benchmark.rows.hub import HubRows


@pytest.fixture
def repository(tmp_path: Path, png: Callable[..., bytes]) -> Path:
    """A data set as it lies on the Hub, two splits, with images alone, in lists and as text."""
    from datasets import Dataset, Features, Sequence, Value
    from datasets import Image as ImageFeature

    images = [{"bytes": png(3 + n, 3), "path": None} for n in range(3)]
    features = Features(
        {
            "question": Value("string"),
            "answer": Value("string"),
            "image": ImageFeature(),
            "images": Sequence(ImageFeature()),
            "decoded_image": Value("string"),
        }
    )
    # large enough to be no path: noise does not compress
    text = base64.b64encode(png(9, 9) + bytes(1000)).decode()
    rows = {
        "question": ["a", "b", "c"],
        "answer": ["None", "2", ""],
        "image": [*images[:2], {"bytes": b"no image", "path": None}],
        "images": [images, [], images[:1]],
        "decoded_image": [text, None, None],
    }
    (tmp_path / "set" / "data").mkdir(parents=True)
    table = Dataset.from_dict(rows, features=features)
    table.to_parquet(tmp_path / "set" / "data" / "val-00000-of-00001.parquet")
    table.select([1]).to_parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet")
    return tmp_path


def _records(folder: Path, named: Callable[..., Any], **address: Any) -> list[tuple[str, Any]]:
    hub = {"path": str(folder / "set"), "options": {"cache_dir": str(folder / "cache")}, **address}
    return list(HubRows(images=str(folder / "images")).records(named("some", hub=hub)))


def test_images_become_paths_and_splits_are_named(
    repository: Path, named: Callable[..., Any]
) -> None:
    found = _records(repository, named, splits=["val", "test"])
    assert [place.rpartition("set, ")[2] for place, _ in found] == [
        "val, row 0",
        "val, row 1",
        "val, row 2",
        "test, row 0",
    ]
    first, last = found[0][1], found[3][1]
    assert size_px(first["image"]) == (3, 3)
    assert [size_px(path) for path in first["images"]] == [(3, 3), (4, 3), (5, 3)]
    assert size_px(first["decoded_image"]) == (9, 9)
    assert (first["answer"], first["split"], first["index"]) == ("None", "val", 0)
    assert (last["question"], last["split"], last["images"]) == ("b", "test", [])


def test_bytes_that_are_no_image_make_a_record_unreadable(
    repository: Path, named: Callable[..., Any]
) -> None:
    _, record = _records(repository, named, splits=["val"])[2]
    with pytest.raises(ValueError, match="8 bytes that are not an image"):
        record.get("question")


def test_only_rows_that_belong_to_the_benchmark_are_given(
    repository: Path, named: Callable[..., Any]
) -> None:
    found = _records(repository, named, splits=["val"], where={"question": ["b"]})
    assert [record["index"] for _, record in found] == [1]


def test_a_benchmark_without_a_data_set_is_told_so(
    tmp_path: Path, named: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="benchmark some names no data set of the Hub"):
        list(HubRows(images=str(tmp_path)).records(named("some")))
