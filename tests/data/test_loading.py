"""Images: the same with and without threads, at the size the model sees, and every damaged one
named.
"""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from g2rpo.data.loading import Loading
from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import Skips
from g2rpo.records import Prompt


def asks(number: int, *images: Any) -> Prompt:
    meta = {"file": "rows.json", "line": 10 + number}
    return Prompt(
        id=f"rows/{number}",
        task="math",
        text="?",
        images=images,
        answer="1",
        answer_type="numerical",
        meta=meta,
    )


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2))


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{n}.png" for n in range(6)]
    for number, path in enumerate(paths):
        Image.new("RGBA" if number % 2 else "L", (20 + 2 * number, 8)).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("workers", [0, 2])
def test_images_come_in_order_in_colour_and_scaled(workers: int, pictures: list[str]) -> None:
    loading = Loading(workers=workers, prefetch=2)
    prompts = [
        asks(0, pictures[0]),
        asks(1),
        asks(2, pictures[2], pictures[5]),
        asks(3, Image.new("RGB", (100, 6))),
    ]
    loading.ahead(prompts, halved)
    found = loading.loaded(prompts, halved)
    assert [[(image.mode, image.size) for image in prompt.images] for prompt in found] == [
        [("RGB", (10, 4))],
        [],
        [("RGB", (12, 4)), ("RGB", (15, 4))],
        [("RGB", (50, 3))],
    ]
    loading.close()


def test_no_more_prompts_than_asked_for_are_read_ahead_and_others_are_forgotten(
    pictures: list[str],
) -> None:
    loading = Loading(workers=1, prefetch=3)
    loading.ahead([asks(n, path) for n, path in enumerate(pictures)], halved)
    assert set(loading._ahead) == {"rows/0", "rows/1", "rows/2"}
    loading.ahead([asks(2, pictures[2]), asks(7, pictures[3])], halved)
    assert set(loading._ahead) == {"rows/2", "rows/7"}
    loading.close()


def damaged(folder: Path, kind: str) -> str:
    path = folder / f"{kind}.jpg"
    if kind == "cut off":
        Image.effect_noise((200, 200), 50).convert("RGB").save(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "huge":
        Image.new("L", (1000, 401)).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file or directory"),
        ("cut off", "image file is truncated"),
        ("text", "cannot identify image file"),
        ("huge", "1000 x 401 pixels are more than data.loading.max_image_pixels=400000"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_with_its_record(
    kind: str, reason: str, workers: int, tmp_path: Path
) -> None:
    path = damaged(tmp_path, kind)
    loading = Loading(workers=workers, max_image_pixels=400_000)
    good = asks(1, Image.new("RGB", (8, 8)))
    found = loading.loaded([good, asks(2, path)], halved)
    assert isinstance(found[0], Prompt)
    assert isinstance(found[1], BadRecord)
    assert str(found[1]).startswith(f"rows.json, line 12: prompt 'rows/2': image {path}: {reason}")
    skips = Skips(on_error="skip")
    assert [prompt.id for prompt in loading.usable([good, asks(2, path)], halved, skips)] == [
        "rows/1"
    ]
    assert skips.summary()["unusable"] == {"math": 1}
    loading.close()


def test_a_hundred_megapixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(path)
    (found,) = Loading(workers=0).loaded([asks(1, str(path))], halved)
    assert "10000 x 10000 pixels are more than data.loading.max_image_pixels=64000000" in str(found)


def test_encoded_bytes_are_read_as_files_are(pictures: list[str]) -> None:
    (found,) = Loading(workers=0).loaded([asks(1, Path(pictures[4]).read_bytes())], halved)
    assert found.images[0].size == (14, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, r"data\.loading\.workers: expected 0 or more"),
        ({"prefetch": 0}, r"data\.loading\.prefetch: expected 1 or more"),
        (
            {"max_prompt_tokens": 0},
            r"data\.loading\.max_prompt_tokens: expected null or at least 1",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loading(**options)
