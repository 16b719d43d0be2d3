"""Opens every image of the program: upright, on a white background, in 8-bit RGB."""

import base64
import binascii
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 178_956_970
"""Default limit on width times height in pixels; above it, Pillow itself raises an error."""
# Pillow's warning does not name the record; `open_image` checks its own limit before decoding.
Image.MAX_IMAGE_PIXELS = None

_BASE64_STARTS = ("/9j/", "iVBOR", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A")
"""How JPEG, PNG, GIF, WebP, BMP and TIFF files begin in base64."""
_SHORTEST_BASE64 = 65
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_WEB = re.compile(r"(?i)(?:https?|ftp|s3|gs|hf)://")
_INT16 = 65535


def open_image(
    source: Any, *, max_pixels: int = MAX_PIXELS, limit: str = "max_pixels"
) -> Image.Image:
    """Open an image and convert it to RGB as an image viewer shows it.

    Applies the EXIF orientation, composites transparency over white, scales 16-bit and float values
    to 8 bits, and takes the first frame of an animation. RGB images are not changed.

    Args:
        source: A PIL image, the bytes of an image file, a path, a data: URL or base64.
        max_pixels: Images with more pixels are refused before they are decoded.
        limit: Name of the setting that holds `max_pixels`, for the error message.

    Returns:
        A new image in mode RGB.

    Raises:
        ValueError: If the source is not an image, or is damaged, empty or too large.
    """
    if isinstance(source, Image.Image):
        return _readable(source, max_pixels, limit)
    try:
        with Image.open(_file(source)) as opened:
            return _readable(opened, max_pixels, limit)
    except ValueError:
        raise
    # Pillow's plugins raise anything for damaged files: struct.error, IndexError, EOFError, ...
    except Exception as error:
        raise ValueError(_reason(error)) from error


def image_size(source: Any) -> tuple[int, int]:
    """Return width and height in pixels of what `open_image` returns, without decoding the image.

    Raises:
        ValueError: If the source is not an image, or is damaged or empty.
    """
    if isinstance(source, Image.Image):
        return _upright_size(source)
    try:
        with Image.open(_file(source)) as opened:
            return _upright_size(opened)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(_reason(error)) from error


def undecoded(data: bytes) -> Image.Image:
    """Return a PIL image that is decoded on first use.

    Raises:
        ValueError: If the bytes do not start like an image.
    """
    try:
        return Image.open(_file(data))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(_reason(error)) from error


def is_inline(text: str) -> bool:
    """Return whether a text contains the image itself, as a data: URL or in base64."""
    if text[:5].lower() == "data:":
        return True
    return (
        len(text) >= _SHORTEST_BASE64
        and text.startswith(_BASE64_STARTS)
        and _BASE64.fullmatch(text) is not None
    )


def is_web(text: str) -> bool:
    """Return whether a text is a URL on the web or in cloud storage."""
    return _WEB.match(text) is not None


def inline_bytes(text: str) -> bytes:
    """Decode a text that `is_inline`; raises `ValueError` with its beginning if that fails."""
    head, comma, body = text.partition(",") if text[:5].lower() == "data:" else ("", ",", text)
    if not comma or (head and not head.lower().endswith(";base64")):
        raise ValueError(f"expected a URL of the form data:image/png;base64,..., got {text[:40]!r}")
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"expected base64, got {text[:40]!r} ({error})") from None


def check_source(source: Any) -> None:
    """Raise `ValueError` for sources that cannot be an image, without reading a file.

    These are null, empty bytes or text, web addresses, broken base64, and other types.
    """
    if isinstance(source, bytes | str) and not source:
        raise ValueError("the image is empty (0 bytes)")
    if isinstance(source, str) and is_web(source):
        raise ValueError(
            f"{source[:200]} is a web address, and images are not downloaded in training; save it"
            " and give its path"
        )
    if isinstance(source, str) and is_inline(source):
        inline_bytes(source)
    if not (isinstance(source, Image.Image | bytes | str | os.PathLike) or hasattr(source, "read")):
        raise ValueError(
            "expected an image, its bytes or a path, got"
            f" {'null' if source is None else type(source).__name__}"
        )


def _file(source: Any) -> Any:
    check_source(source)
    if isinstance(source, str) and is_inline(source):
        source = inline_bytes(source)
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if hasattr(source, "read"):
        return source
    path = Path(source)
    if path.exists() and not path.is_file():  # a pipe would wait for ever
        raise ValueError(
            f"expected a file, found {'a folder' if path.is_dir() else 'a pipe or device'}"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError("the file is empty (0 bytes)")
    return path


def _readable(image: Image.Image, max_pixels: int, limit: str) -> Image.Image:
    width, height = image.size
    if not width or not height:
        raise ValueError(f"the image is empty: {width} x {height} pixels")
    if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels are more than {limit}={max_pixels}")
    return _rgb(ImageOps.exif_transpose(image))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.mode in ("RGBa", "La"):  # colors multiplied by alpha
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Scale values to 0..255 by the range of the file's format or, failing that, of its values.

    Pillow itself would clip everything above 255.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    least, most = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (least >= 0 and 255 < most <= _INT16):
        low, high = 0.0, float(_INT16)
    elif least >= 0 and most <= 1 and image.mode == "F":
        low, high = 0.0, 1.0
    elif least >= 0 and most <= 255:
        low, high = 0.0, 255.0
    else:
        low, high = least, most
    return np.rint((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    turned = image.getexif().get(0x0112) in (5, 6, 7, 8)  # EXIF orientations rotated by 90 degrees
    return (height, width) if turned else (width, height)


def _reason(error: Exception) -> str:
    """Return the reason without the path, because the caller's message contains the path."""
    if isinstance(error, UnidentifiedImageError):
        return "cannot identify image file: it has no format that Pillow reads"
    if isinstance(error, OSError) and (words := error.strerror or str(error)):
        return words
    return f"the file is damaged ({str(error) or type(error).__name__})"
