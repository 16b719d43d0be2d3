import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from g2rpo.benchmark.rows.record import ImageStore, Unreadable, numbered, passes, with_images


def test_reading_any_column_of_an_unreadable_record_gives_the_reason() -> None:
    record = Unreadable("line cut off")
    looks = (
        lambda: record["answer"],
        lambda: record.get("answer"),
        lambda: "answer" in record,
        lambda: {**record},
        lambda: list(record.items()),
    )
    for look in looks:
        with pytest.raises(ValueError, match="line cut off"):
            look()


def test_image_columns_are_mended_and_no_others() -> None:
    record = with_images(
        {"image": "a", "image_3": "b", "mask": None, "question": "c"},
        lambda name, value: f"{name}:{value}",
    )
    assert record == {"image": "image:a", "image_3": "image_3:b", "mask": None, "question": "c"}


def test_an_image_is_stored_once_under_its_content(
    tmp_path: Path, png: Callable[..., bytes]
) -> None:
    store = ImageStore(str(tmp_path / "images"))
    first, other = store.keep(png(3, 2, "red")), store.keep(png(3, 2, "blue"))
    assert first == store.keep_base64(base64.b64encode(png(3, 2, "red")).decode()) != other
    assert first == store.keep_base64(
        "data:image/png;base64," + base64.b64encode(png(3, 2, "red")).decode()
    )
    assert sorted(path.suffix for path in (tmp_path / "images").rglob("*") if path.is_file()) == [
        ".png",
        ".png",
    ]
    with Image.open(first) as image:
        assert (image.size, image.getpixel((0, 0))) == ((3, 2), (255, 0, 0))


@pytest.mark.parametrize("text", ["no base64!", base64.b64encode(b"no image").decode(), ""])
def test_what_is_no_image_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image: "):
        ImageStore(str(tmp_path)).keep_base64(text)


def test_numbers_are_given_to_records_without_an_id() -> None:
    assert numbered({"pid": "7"}, 3) == {"pid": "7"}
    assert numbered({"question": "?"}, 3) == {"index": 3, "question": "?"}


def test_where_compares_as_text() -> None:
    assert passes({"split": "val", "level": 3}, {"split": ["dev", "val"], "level": ["3"]})
    assert not passes({"split": "test"}, {"split": ["dev", "val"]})
    assert not passes({}, {"split": ["dev"]})
