"""Charts and printed lines are read again from the pixels."""

import re

import numpy as np

from g2rpo.data.gym.canvas import BACKGROUNDS, COLORS, GLYPHS
from g2rpo.data.gym.source import GymSource
from g2rpo.records import Prompt

CHARACTER = {"".join(lines): character for character, lines in GLYPHS.items()}


def _prompts(task: str) -> list[Prompt]:
    source = GymSource(seed=11, levels=(0, 1, 2, 3))
    return [source.get(task, index, "heldout") for index in range(48)]


def _heights_px(prompt: Prompt) -> dict[str, float]:
    """Height of every bar, or of every point's middle, above the lower edge, from left to right."""
    pixels = np.asarray(prompt.images[0])
    marks = []
    for color, rgb in COLORS.items():
        ys, xs = np.nonzero((pixels == rgb).all(-1))
        if len(ys):
            top = ys.min() if "bar" in prompt.text else (ys.min() + ys.max()) / 2
            marks.append((xs.mean(), color, 64 - float(top), ys.max()))
    if "bar" in prompt.text:
        assert all(bottom == 63 for *_, bottom in marks)
    return {color: height for _, color, height, _ in sorted(marks)}


def test_the_values_of_a_chart_are_its_heights_in_pixels() -> None:
    words = set()
    for prompt in _prompts("chart"):
        heights = _heights_px(prompt)
        values = {
            color: int(value) for color, value in re.findall(r"(\w+) (\d+)\.", prompt.meta["scene"])
        }
        words.add("bar" in prompt.text)
        assert list(heights) == list(values), prompt.id
        # 100 units are 60 pixels, to the nearest pixel
        assert max(abs(heights[color] - 0.6 * value) for color, value in values.items()) <= 0.5, (
            prompt.id
        )
    assert words == {True, False}


def test_the_answer_of_a_chart_is_what_is_measured() -> None:
    questions = set()
    for prompt in _prompts("chart"):
        # values are multiples of five, 3 pixels each, so the nearest one is certain
        value = {color: 5 * round(height / 3) for color, height in _heights_px(prompt).items()}
        first, *second = re.findall("|".join(COLORS), prompt.text)
        questions.add(bool(second))
        assert int(prompt.answer) == (
            value[first] - value[second[0]] if second else value[first]
        ), prompt.id
    assert questions == {True, False}


def _printed(prompt: Prompt) -> str:
    pixels = np.asarray(prompt.images[0])
    (ground,) = {tuple(color) for color in pixels.reshape(-1, 3).tolist()} & set(BACKGROUNDS)
    ink = (pixels != ground).any(-1)
    lines = []
    for top in range(0, 64, 16):
        cells = [
            ink[top + 1 : top + 15 : 3, left + 4 : left + 13 : 3] for left in range(0, 64, 16)
        ]  # the middle of every dot
        lines.append(
            "".join(
                CHARACTER["".join("01"[int(dot)] for dot in cell.flatten())]
                for cell in cells
                if cell.any()
            )
        )
    return " ".join(line for line in lines if line)


def test_the_printed_dots_spell_the_answer() -> None:
    printed = [(prompt, _printed(prompt)) for prompt in _prompts("document")]
    assert [prompt.id for prompt, text in printed if text != prompt.answer] == []
    digits = [
        text.replace(" ", "").isdigit() for prompt, text in printed if prompt.meta["level"] < 3
    ]
    assert all(digits)
    assert any(re.search("[A-Z]", text) for prompt, text in printed if prompt.meta["level"] == 3)


def test_no_two_characters_look_alike() -> None:
    dots = {
        character: np.array([dot == "1" for line in lines for dot in line])
        for character, lines in GLYPHS.items()
    }
    assert all((dots[a] != dots[b]).any() for a in dots for b in dots if a < b)
