"""Pictures for the report: small, found again by the id of their prompt, and chosen by a rule."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from g2rpo.records import Prompt
from g2rpo.training.kept_pictures import encoded, picture_paths, save_pictures, worth_showing
from g2rpo.training.showcase import first_of_each_task


def prompt(name: str, *images: Image.Image, task: str = "math") -> Prompt:
    return Prompt(id=name, task=task, text="?", images=images, answer="1", answer_type="numerical")


def test_the_worst_the_best_and_the_most_changed_come_first() -> None:
    scores = {"a": 0.5, "b": 0.1, "c": 0.9, "d": 0.6, "e": 0.8, "f": math.nan}
    earlier = {"a": 0.5, "b": 0.1, "c": 0.9, "d": 0.9, "e": 0.2, "f": 0.0}
    assert list(worth_showing(scores, earlier, 4).items()) == [
        ("b", "worst, 0.10"),
        ("c", "best, 0.90"),
        ("e", "largest gain, +0.60"),
        ("d", "largest loss, -0.30"),
    ]
    assert list(worth_showing(scores, {}, 4)) == ["b", "c", "a", "e"]  # next worst, next best
    assert list(worth_showing(scores, earlier, 9)) == ["b", "c", "e", "d", "a"]


def test_pictures_are_found_again_whatever_the_id_is(tmp_path: Path) -> None:
    images = [Image.new("RGB", (8, 4), color) for color in ("#ff0000", "#00ff00")]
    names = ["gym/math/1", "x" * 5000, "é" * 200 + "1", "é" * 200 + "2"]
    save_pictures([prompt(name, *images) for name in names], tmp_path)
    assert [len(picture_paths(tmp_path, name)) for name in names] == [2] * 4
    assert picture_paths(tmp_path, "gym/math/2") == []
    with Image.open(picture_paths(tmp_path, "gym/math/1")[1]) as second:
        assert second.getpixel((0, 0)) == (0, 255, 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16"])
def test_every_kind_of_image_can_be_kept(mode: str, tmp_path: Path) -> None:
    save_pictures([prompt("a", Image.new(mode, (1200, 300)))], tmp_path)
    (path,) = picture_paths(tmp_path, "a")
    with Image.open(path) as image:
        assert image.size == (512, 128)


def test_drawings_lose_nothing_and_photographs_become_small() -> None:
    noise = torch.randint(0, 256, (512, 512, 3), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    assert encoded(Image.new("RGB", (64, 64)))[1] == "png"
    content, kind = encoded(Image.fromarray(noise.numpy()))
    assert kind == "jpeg"
    assert len(content) < 300_000


def test_a_step_shows_the_first_prompts_of_each_task() -> None:
    names = [("a", "math"), ("b", "chart"), ("c", "math"), ("d", "math"), ("e", "chart")]
    assert [p.id for p in first_of_each_task([prompt(n, task=t) for n, t in names])] == [
        "a",
        "c",
        "b",
        "e",
    ]
