"""Every answer about shapes is worked out again from the pixels and the question alone."""

import json
import math
import re
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from g2rpo.data.gym.canvas import BACKGROUNDS, COLORS
from g2rpo.data.gym.source import GymSource
from g2rpo.records import Prompt

NAMES = {rgb: name for name, rgb in COLORS.items()}
SINGULAR = {"circles": "circle", "squares": "square", "triangles": "triangle", "crosses": "cross"}
TOWARDS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}


class Seen(NamedTuple):
    """What stands in a cell of 16 x 16 pixels; `box` is left, top, right, bottom in pixels, right
    and bottom exclusive.
    """

    color: str
    shape: str
    column: int
    row: int
    box: tuple[int, int, int, int]


def _seen(image: Image.Image) -> list[Seen]:
    pixels = np.asarray(image).astype(int)
    (ground,) = {tuple(color) for color in pixels.reshape(-1, 3).tolist()} & set(BACKGROUNDS)
    ink = (pixels != ground).any(-1)
    found = []
    for row in range(4):
        for column in range(4):
            ys, xs = np.nonzero(ink[16 * row : 16 * row + 16, 16 * column : 16 * column + 16])
            if len(ys):
                top, left, bottom, right = (
                    16 * row + ys.min(),
                    16 * column + xs.min(),
                    16 * row + ys.max() + 1,
                    16 * column + xs.max() + 1,
                )
                color = NAMES[tuple(pixels[16 * row + ys[0], 16 * column + xs[0]].tolist())]
                found.append(
                    Seen(
                        color,
                        _shape(ink[top:bottom, left:right]),
                        column + 1,
                        row + 1,
                        (left, top, right, bottom),
                    )
                )
    return found


def _shape(filled: np.ndarray) -> str:
    if filled.all():
        return "square"
    if filled[-1].all():
        return "triangle"  # the only one that stands on a full side
    return "circle" if filled[3, 3] else "cross"


def _prompts(task: str) -> list[Prompt]:
    source = GymSource(seed=11, levels=(0, 1, 2, 3))
    return [source.get(task, index, "train") for index in range(48)]


def _one(things: list[Seen], **wanted: str) -> Seen:
    (thing,) = [
        thing
        for thing in things
        if all(getattr(thing, key) == value for key, value in wanted.items())
    ]
    return thing


def _options(prompt: Prompt) -> list[str]:
    return prompt.text.partition("?")[2].split()


def test_the_colour_or_shape_that_is_seen_is_right_and_one_of_four_options() -> None:
    for prompt in _prompts("general_vqa"):
        things = _seen(prompt.images[0])
        if asked := re.match(r"what color is the (\w+)\?", prompt.text):
            right = _one(things, shape=asked[1]).color
        else:
            right = _one(things, color=re.match(r"which shape is (\w+)\?", prompt.text)[1]).shape
        assert prompt.answer == right, prompt.id
        assert sorted([right, *prompt.meta["wrong"]]) == sorted(_options(prompt)), prompt.id
        assert len(set(_options(prompt))) == 4


def test_counted_shapes_give_the_number() -> None:
    forms = set()
    for prompt in _prompts("math"):
        shapes = [thing.shape for thing in _seen(prompt.images[0])]
        first, *second = [
            shapes.count(SINGULAR[word]) for word in re.findall("|".join(SINGULAR), prompt.text)
        ]
        together, more = "together" in prompt.text, "more" in prompt.text
        expected = first + second[0] if together else first - second[0] if more else first
        forms.add((together, more))
        assert int(prompt.answer) == expected, prompt.id
        assert expected >= 0
    assert len(forms) == 3


def test_relations_follow_the_cells_and_distances_the_pixels() -> None:
    kinds = set()
    for prompt in _prompts("spatial"):
        things = _seen(prompt.images[0])
        one, other = (
            _one(things, color=color, shape=shape)
            for color, shape in re.findall(r"the (\w+) (\w+)", prompt.text)
        )
        kinds.add(prompt.answer_type)
        if prompt.answer_type == "regression":
            centers = [
                ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (one.box, other.box)
            ]
            assert int(prompt.answer) == round(math.dist(*centers)), prompt.id
            continue
        dx, dy = one.column - other.column, one.row - other.row
        x, y = TOWARDS[prompt.answer]
        assert x * dx + y * dy == max(abs(dx), abs(dy)), prompt.id
        assert x != 0 or abs(dy) > abs(dx)  # a diagonal counts as left or right
        assert set(_options(prompt)) == set(TOWARDS)
    assert kinds == {"regression", "multiple choice"}


def test_the_gold_box_is_where_the_pixels_of_the_asked_thing_are() -> None:
    for prompt in _prompts("grounding"):
        color, shape = re.match(r"give the box of the (\w+) (\w+)\.", prompt.text).groups()
        pixels = np.asarray(prompt.images[0])
        ys, xs = np.nonzero((pixels == COLORS[color]).all(-1))
        drawn = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) * 1000 / 64
        assert np.abs(drawn - json.loads(prompt.answer)["boxes"]).max() <= 0.5, prompt.id
        assert _one(_seen(prompt.images[0]), color=color, shape=shape)


@pytest.mark.parametrize("task", ["general_vqa", "spatial", "grounding", "math"])
def test_the_scene_lists_what_is_seen_in_reading_order(task: str) -> None:
    for prompt in _prompts(task)[:30]:
        things = _seen(prompt.images[0])
        if task == "math":
            assert prompt.meta["scene"] == " ".join(thing.shape for thing in things) + ".", (
                prompt.id
            )
        else:
            assert prompt.meta["scene"] == " ".join(
                f"{t.color} {t.shape} {t.column} {t.row}." for t in things
            ), prompt.id
