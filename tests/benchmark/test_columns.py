import base64
import io
import math

import pytest
from PIL import Image

from g2rpo.benchmark.columns import choices_of, identity, images_of, list_of, needed, text_of


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 3), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_word_none_is_an_answer_and_nan_is_missing() -> None:
    assert needed("mmmu", {"index": 4, "answer": "None"}, "answer") == "None"
    with pytest.raises(
        ValueError,
        match=(
            r"mmmu, record 4: column answer is missing or empty.*without turning words such as None"
        ),
    ):
        needed("mmmu", {"index": 4, "answer": math.nan}, "answer")


def test_options_come_from_letters_or_from_a_list() -> None:
    assert choices_of({"A": "x", "B": 2.0, "C": "None", "D": math.nan, "E": None}) == {
        "A": "x",
        "B": "2",
        "C": "None",
    }
    assert choices_of({"answer_options": ["door", "cart"]}) == {"A": "door", "B": "cart"}
    assert choices_of({"options": "[]"}) == {}


@pytest.mark.parametrize("cell", ["[__import__('os')]", "[1, 2", "(1, 2)", "[" * 5000])
def test_a_text_that_is_no_list_of_constants_is_none(cell: str) -> None:
    assert list_of(cell) is None


def test_images_come_as_pictures_bytes_base64_dicts_and_paths() -> None:
    text = base64.b64encode(_png()).decode()
    sources = [
        Image.new("RGB", (5, 3)),
        _png(),
        text,
        {"bytes": _png(), "path": None},
        str([text]),
        [text],
    ]
    assert [images_of({"image": source})[0].size for source in sources] == [(5, 3)] * 6
    assert images_of({"image": "images/1.png"}) == ["images/1.png"]
    assert images_of({"image": "/9j/photo.jpg"}) == ["/9j/photo.jpg"]
    assert images_of({"image": math.nan, "image_path": "['a.png', 'b.png']"}) == ["a.png", "b.png"]
    with pytest.raises(
        ValueError, match="column image: expected an image, base64 or a path, got int"
    ):
        images_of({"image": 7})


def test_a_record_without_an_id_has_the_same_one_every_time_and_another_picture_another_one() -> (
    None
):
    red, blue = (
        {"question": "what?", "image": Image.new("RGB", (5, 3), color)} for color in ("red", "blue")
    )
    assert identity(red) == identity(dict(red)) != identity(blue)
    assert identity({"index": 7.0}) == "7"


def test_a_whole_number_in_a_column_with_gaps_is_no_float() -> None:
    assert (text_of(3.0), text_of(2.5), text_of(math.nan)) == ("3", "2.5", "")
