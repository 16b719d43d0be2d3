"""A benchmark that stands for all of them where only its name and the addresses of its records
matter.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from PIL import Image

from g2rpo.benchmark.mmstar import MMStar


@pytest.fixture
def named() -> Callable[..., Any]:
    """`named("mmstar", tsv={"file": "MMStar"})`: a benchmark of this name with these sources."""

    def make(name: str, **sources: Mapping[str, Any]) -> Any:
        benchmark = MMStar(sources=sources)
        benchmark.name = name
        return benchmark

    return make


@pytest.fixture
def png() -> Callable[..., bytes]:
    """`png(3, 2, "red")`: the bytes of a PNG of that size and color."""

    def encode(width: int, height: int, color: str = "white") -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (width, height), color).save(file, "PNG")
        return file.getvalue()

    return encode
