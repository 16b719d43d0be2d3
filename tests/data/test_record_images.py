"""Images as records have them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from g2rpo.data.record_images import images_in, items_of, located
from g2rpo.data.rows import BadRecord

TEXT = "iVBOR" + base64.b64encode(bytes(range(90))).decode()[5:]


@pytest.mark.parametrize(
    ("row", "items"),
    [
        ({"images": "a.png"}, ["a.png"]),
        ({"images": None, "image": ["a.png", "b.png"]}, ["a.png", "b.png"]),
        ({"path": "a.png"}, ["a.png"]),
        (
            {"images": [{"bytes": b"x", "path": "a.png"}, {"bytes": None, "path": "b.png"}]},
            [b"x", "b.png"],
        ),
        ({"images": []}, []),
        ({"image": ""}, []),
        ({}, []),
    ],
)
def test_images_are_found_in_every_form(row: dict[str, Any], items: list[Any]) -> None:
    assert images_in(row) == items


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["a.png", None], "images: image 2: expected an image, its bytes or a path, got null"),
        ([{"bytes": b"", "path": None}], r"images: image 1: the image is empty \(0 bytes\)"),
        (["https://a.org/b.png"], r"images: image 1: https://a\.org/b\.png is a web address"),
        (["data:image/png;base64,!"], "images: image 1: expected base64"),
        ([3], r"images: expected a path or a list of paths, got \[3\]"),
    ],
)
def test_what_is_no_image_is_named_with_its_number(images: Any, message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        images_in({"images": images})


def test_paths_lie_below_root_and_texts_that_hold_an_image_become_bytes() -> None:
    root = Path("/pictures")
    assert [located(item, root) for item in ("a.png", b"x")] == ["/pictures/a.png", b"x"]
    assert located("a.png", None) == "a.png"
    assert located(TEXT, root) == base64.b64decode(TEXT)
    assert items_of(("a", "b")) == ["a", "b"]
