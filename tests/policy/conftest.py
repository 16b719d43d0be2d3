"""A random tiny Qwen3-VL whose predictions depend strongly on everything that it reads."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import Prompt

LIVELINESS = 4.0
"""Factor on all weight matrices. Freshly drawn ones predict almost evenly, whatever the picture
shows: errors would not be seen.
"""
CORPUS = (
    "what color is the red circle?",
    "how many squares are there?",
    "read the text.",
    "<thinking>2 squares.</thinking>",
)


@pytest.fixture(scope="session")
def encoder(tiny_folder: Path) -> QwenEncoder:
    return QwenEncoder(path=tiny_folder)


@pytest.fixture(scope="session")
def policy(tiny_folder: Path) -> Any:
    """The random model, made lively. Shared by all tests: they must not change it."""
    policy = Checkpoint(path=str(tiny_folder)).policy()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(LIVELINESS if parameter.ndim > 1 else 1.0)
    return policy


@pytest.fixture(scope="session")
def noise() -> Callable[..., Image.Image]:
    """`noise(seed, width, height)`: a picture of random pixels."""

    def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
        pixels = torch.randint(
            0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed)
        )
        return Image.fromarray(pixels.to(torch.uint8).numpy())

    return picture


@pytest.fixture(scope="session")
def ask() -> Callable[..., Prompt]:
    """`ask("how many?", image, image, id="t/1")`: a prompt about some images."""

    def prompt(text: str, *images: Any, id: str = "t/0", task: str = "math") -> Prompt:
        return Prompt(
            id=id, task=task, text=text, images=images, answer="1", answer_type="numerical"
        )

    return prompt


@pytest.fixture(scope="session")
def prompts(ask: Callable[..., Prompt], noise: Callable[..., Image.Image]) -> Sequence[Prompt]:
    """Four prompts of different lengths: one image, three images of different sizes, none, one flat
    image.
    """
    return (
        ask("how many squares are there?", noise(0), id="t/one"),
        ask("read.", noise(1), noise(2, 96, 32), noise(3, 48, 80), id="t/three", task="document"),
        ask("two and two?", id="t/none"),
        ask(
            "what color is the red circle on the left of the picture?",
            noise(4, 128, 32),
            id="t/flat",
            task="general_vqa",
        ),
    )
