"""Images as people see them, with pixels worked out by hand."""

import base64
import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from g2rpo.image import check_source, image_size, is_inline, is_web, open_image

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def written(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> list[list[tuple[int, ...]]]:
    assert image.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [
        (1, (4, 2), (0, 0)),
        (2, (4, 2), (3, 0)),
        (3, (4, 2), (3, 1)),
        (4, (4, 2), (0, 1)),
        (5, (2, 4), (0, 0)),
        (6, (2, 4), (1, 0)),
        (7, (2, 4), (1, 3)),
        (8, (2, 4), (0, 3)),
    ],
)
def test_photos_stand_upright(
    orientation: int, size: tuple[int, int], red_at: tuple[int, int]
) -> None:
    image = Image.new("RGB", (4, 2), BLUE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = written(image, exif=exif)
    opened = open_image(data)
    assert (opened.size, image_size(data), opened.getpixel(red_at)) == (size, size, RED)
    assert open_image(opened).tobytes() == opened.tobytes()  # not turned a second time
    with Image.open(io.BytesIO(data)) as itself:
        assert open_image(itself).size == size


def test_transparency_is_laid_over_white_in_every_mode() -> None:
    colors = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    colors.putpixel((1, 0), (0, 0, 0, 255))
    colors.putpixel((2, 0), (0, 0, 0, 51))  # a fifth of black: four fifths of white
    grays = colors.convert("LA")
    premultiplied = colors.convert("RGBa")
    for image in (colors, grays, premultiplied):
        assert pixels(open_image(image)) == [[WHITE, BLACK, (204, 204, 204)]]
    assert pixels(open_image(written(colors, "WEBP", lossless=True, exact=True))) == [
        [WHITE, BLACK, (204, 204, 204)]
    ]


def test_a_palette_gives_its_colors_and_its_transparent_entry_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    assert pixels(open_image(written(image))) == [[BLACK, RED]]
    assert pixels(open_image(written(image, transparency=0))) == [[WHITE, RED]]
    gray = Image.new("L", (2, 1), 0)
    gray.putpixel((1, 0), 9)
    assert pixels(open_image(written(gray, transparency=0))) == [[WHITE, (9, 9, 9)]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_and_not_cut(kind: str) -> None:
    ramp = Image.fromarray(np.array([[0, 257, 257 * 100, 10_000, 65535]], dtype=np.uint16))
    assert pixels(open_image(written(ramp, kind))) == [
        [(value,) * 3 for value in (0, 1, 100, 39, 255)]
    ]  # 10 000 / 257 = 38.9


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (np.array([[0, 257 * 7, 65535]], dtype=np.int32), (0, 7, 255)),
        (np.array([[0, 7, 255]], dtype=np.int32), (0, 7, 255)),
        (np.array([[-100, 0, 155]], dtype=np.int32), (0, 100, 255)),
        (np.array([[0.0, 0.2, 1.0]], dtype=np.float32), (0, 51, 255)),
        (np.array([[0.0, 7.0, 255.0]], dtype=np.float32), (0, 7, 255)),
        (np.array([[0.0, np.nan, 1.0]], dtype=np.float32), (0, 0, 255)),
        (np.array([[9e9, 9e9, 9e9]], dtype=np.float32), (0, 0, 0)),
    ],
)
def test_integers_and_floats_are_read_on_the_scale_that_they_use(
    values: np.ndarray, seen: tuple[int, ...]
) -> None:
    assert pixels(open_image(Image.fromarray(values))) == [[(value,) * 3 for value in seen]]


def test_ink_and_single_bits_are_what_a_printer_makes_of_them() -> None:
    ink = Image.new("CMYK", (2, 1), (0, 0, 0, 0))
    ink.putpixel((1, 0), (0, 255, 255, 0))
    assert pixels(open_image(written(ink, "TIFF"))) == [[WHITE, RED]]
    bits = Image.new("1", (2, 1), 0)
    bits.putpixel((1, 0), 1)
    assert pixels(open_image(written(bits))) == [[BLACK, WHITE]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    lossless = {"lossless": True} if kind == "WEBP" else {}
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, BLUE)]
    data = written(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    assert open_image(data).getpixel((1, 1)) == RED


def test_an_rgb_image_keeps_every_bit() -> None:
    noise = Image.effect_noise((30, 20), 80).convert("RGB")
    assert open_image(noise).tobytes() == noise.tobytes()
    assert open_image(noise) is not noise


def test_paths_base64_and_data_urls_are_the_same_image(tmp_path: Path) -> None:
    data = written(Image.effect_noise((9, 9), 80))
    (tmp_path / "a.png").write_bytes(data)
    text = base64.b64encode(data).decode()
    sources = (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        text,
        text[:40] + "\n" + text[40:],
        f"data:image/png;base64,{text}",
    )
    assert {open_image(source).tobytes() for source in sources} == {open_image(data).tobytes()}
    assert [is_inline(source) for source in map(str, sources)] == [False, False, True, True, True]
    assert not is_inline("/9j/" + "images/" * 20 + "photo.jpg")


def test_web_addresses_are_known_from_paths() -> None:
    assert [
        is_web(text)
        for text in ("http://a.org/b.png", "HTTPS://x", "s3://b/c.png", "http/b.png", "./a.png")
    ] == [True] * 3 + [False] * 2


def png_of_size(width: int, height: int) -> bytes:
    """The head of a PNG that claims a size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + data
    )


NOISE = written(Image.effect_noise((64, 64), 80))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", r"^the image is empty \(0 bytes\)$"),
        ("", r"^the image is empty \(0 bytes\)$"),
        (None, "^expected an image, its bytes or a path, got null$"),
        (7, "^expected an image, its bytes or a path, got int$"),
        (b"hello", "^cannot identify image file: it has no format that Pillow reads$"),
        (
            NOISE[: len(NOISE) // 2],
            "^(image file is truncated|unrecognized data stream|broken data stream)",
        ),
        (
            "https://a.org/b.png",
            r"^https://a\.org/b\.png is a web address, and images are not downloaded",
        ),
        ("data:image/png,xy", "^expected a URL of the form data:image/png;base64"),
        ("data:image/png;base64,??", "^expected base64, got 'data:image/png;base64,"),
        ("no/such/file.png", "^No such file or directory$"),
        pytest.param(
            Image.new("RGB", (0, 5)), "^the image is empty: 0 x 5 pixels$", id="no pixels"
        ),
    ],
    ids=str,
)
def test_what_is_no_image_is_told_in_a_sentence(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_image(source)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"the file is empty \(0 bytes\)"):
        open_image(tmp_path / "a.png")


def test_a_bomb_is_refused_before_it_is_decoded(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(ValueError, match="50000 x 50000 pixels are more than max_pixels=178956970"):
        open_image(png_of_size(50_000, 50_000))
    with pytest.raises(ValueError, match="4 x 2 pixels are more than max_pixels=7"):
        open_image(Image.new("RGB", (4, 2)), max_pixels=7)
    assert open_image(Image.new("RGB", (4, 2)), max_pixels=8).size == (4, 2)
    assert not [
        warning
        for warning in recwarn
        if issubclass(warning.category, Image.DecompressionBombWarning)
    ]


def test_any_damage_to_a_file_is_a_value_error() -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = bytearray(written(Image.effect_noise((16, 16), 80).convert("RGB"), kind))
        for _ in range(60):
            broken = bytearray(whole)
            for place in random.integers(0, len(whole), 6):
                broken[place] = int(random.integers(256))
            with contextlib.suppress(ValueError):
                assert open_image(bytes(broken), max_pixels=10**6).mode == "RGB"


def test_sources_are_checked_without_opening_them() -> None:
    check_source("no/such/file.png")
    check_source(b"hello")
    with pytest.raises(ValueError, match="web address"):
        check_source("http://a.org/b.png")
