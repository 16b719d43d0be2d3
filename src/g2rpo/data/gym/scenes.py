"""Problems of the gym: things on a grid to name, count, relate or find, a bar chart, and a page."""

import json
import math
from collections.abc import Iterable
from random import Random

from PIL import Image, ImageDraw

from g2rpo.data.gym.canvas import (
    CELL_PX,
    COLORS,
    GLYPHS,
    SHAPES,
    SIZE_PX,
    Thing,
    blank,
    draw_text,
    draw_things,
    place,
    to_grid,
)
from g2rpo.data.gym.problem import Problem

PLURAL = {"circle": "circles", "square": "squares", "triangle": "triangles", "cross": "crosses"}


def _distinct_things(rng: Random, count: int) -> list[Thing]:
    colors, shapes = rng.sample(list(COLORS), count), rng.sample(SHAPES, count)
    return place(rng, list(zip(colors, shapes, strict=True)))


def _listed(things: list[Thing]) -> str:
    """Everything on the board in reading order, with column and row: `red circle 1 1. blue square 4
    2.`
    """
    return " ".join(f"{thing.name} {thing.column} {thing.row}." for thing in _reading_order(things))


def _reading_order(things: list[Thing]) -> list[Thing]:
    return sorted(things, key=lambda thing: (thing.row, thing.column))


def _choices(rng: Random, right: str, others: list[str]) -> tuple[str, list[str]]:
    """Return four options in random order, and the wrong ones among them."""
    wrong = rng.sample(others, 3)
    options = [right, *wrong]
    rng.shuffle(options)
    return " ".join(options), wrong


def general_vqa(rng: Random, level: int) -> Problem:
    """Ask for the color of a shape or the shape of a color; four options, right or wrong."""
    things = _distinct_things(rng, level + 1)
    asked = rng.choice(things)
    if rng.random() < 0.5:
        question, right, others = (
            f"what color is the {asked.shape}?",
            asked.color,
            [c for c in COLORS if c != asked.color],
        )
    else:
        question, right, others = (
            f"which shape is {asked.color}?",
            asked.shape,
            [s for s in SHAPES if s != asked.shape],
        )
    options, wrong = _choices(rng, right, others)
    fact = (
        f"the {asked.shape} is {asked.color}"
        if right == asked.color
        else f"the {asked.color} shape is a {asked.shape}"
    )
    return Problem(
        image=draw_things(blank(rng), things),
        text=f"{question} {options}",
        answer=right,
        answer_type="multiple choice",
        look=f"{fact}.",
        scene=_listed(things),
        wrong=wrong,
    )


def _counted(number: int, shape: str) -> str:
    return f"{number} {shape if number == 1 else PLURAL[shape]}"


def math_on_things(rng: Random, level: int) -> Problem:
    """Ask to count, add or subtract visible things; right or wrong, solved in several steps."""
    first, second = rng.sample(SHAPES, 2)
    a, b = rng.randint(1, 2 + level), rng.randint(1, 2 + level)
    things = place(rng, [(rng.choice(list(COLORS)), shape) for shape in [first] * a + [second] * b])
    kind = "count" if level <= 1 else rng.choice(("add", "subtract"))
    if kind == "subtract" and a < b:
        first, second, a, b = second, first, b, a
    one, two = _counted(a, first), _counted(b, second)
    question, look, answer = {
        "count": (f"how many {PLURAL[first]} are there?", f"{one}.", a),
        "add": (
            f"how many {PLURAL[first]} and {PLURAL[second]} are there together?",
            f"{one}. {two}. {a} + {b} = {a + b}.",
            a + b,
        ),
        "subtract": (
            f"how many more {PLURAL[first]} than {PLURAL[second]} are there?",
            f"{one}. {two}. {a} - {b} = {a - b}.",
            a - b,
        ),
    }[kind]
    wrong = [str(n) for n in range(max(0, answer - 3), answer + 4) if n != answer]
    return Problem(
        image=draw_things(blank(rng), things),
        text=question,
        answer=str(answer),
        answer_type="numerical",
        look=look,
        scene=" ".join(thing.shape for thing in _reading_order(things)) + ".",
        wrong=wrong,
    )


def spatial(rng: Random, level: int) -> Problem:
    """Where one thing lies as seen from another (four options), or how far apart they are in pixels
    (graded).
    """
    things = _distinct_things(rng, max(level, 1) + 1)
    one, other = rng.sample(things, 2)
    image = draw_things(blank(rng), things)
    if rng.random() < 0.6:
        return _relation(rng, one, other, things, image)
    distance = round(math.dist(one.center_px, other.center_px))
    wrong = [str(n) for n in range(15, 66, 5) if abs(n - distance) > 10]
    return Problem(
        image=image,
        text=f"how many pixels from the {one.name} to the {other.name}?",
        answer=str(distance),
        answer_type="regression",
        look=f"{_cells(one, other)} {distance} pixels.",
        scene=_listed(things),
        wrong=wrong,
    )


def _cells(one: Thing, other: Thing) -> str:
    return f"{one.name} {one.column} {one.row}. {other.name} {other.column} {other.row}."


def _relation(
    rng: Random, one: Thing, other: Thing, things: list[Thing], image: Image.Image
) -> Problem:
    dx, dy = one.column - other.column, one.row - other.row
    sideways, upright = "left" if dx < 0 else "right", "above" if dy < 0 else "below"
    right = sideways if abs(dx) >= abs(dy) else upright
    options, wrong = _choices(
        rng, right, [r for r in ("left", "right", "above", "below") if r != right]
    )
    return Problem(
        image=image,
        text=f"where is the {one.name} from the {other.name}? {options}",
        answer=right,
        answer_type="multiple choice",
        look=f"{_cells(one, other)} {right}.",
        scene=_listed(things),
        wrong=wrong,
    )


def grounding(rng: Random, level: int) -> Problem:
    """Ask for the box of one thing as JSON on the 0-1000 grid; graded by overlap."""
    things = _distinct_things(rng, level + 1)
    asked = rng.choice(things)
    elsewhere = [to_grid(thing.box) for thing in place(rng, [(asked.color, asked.shape)] * 4)]
    return Problem(
        image=draw_things(blank(rng), things),
        text=f"give the box of the {asked.name}.",
        answer=json.dumps({"boxes": to_grid(asked.box)}),
        answer_type="spatial grounding",
        look=f"{asked.name} {asked.column} {asked.row}.",
        scene=_listed(things),
        wrong=[json.dumps({"boxes": box}) for box in elsewhere if box != to_grid(asked.box)],
    )


PX_PER_UNIT = 0.6
TOLERANCE = 0.1
DIGITS = "0123456789"


def chart(rng: Random, level: int) -> Problem:
    """Ask for the value of a bar or point, or the difference of two, within 10 %."""
    colors = rng.sample(list(COLORS), level + 1)
    values = rng.sample(range(10, 101, 5), len(colors))
    by_points = rng.random() < 0.4
    image = (_points if by_points else _bars)(blank(rng), colors, values)
    word = "point" if by_points else "bar"
    if level == 3 and rng.random() < 0.5:
        return _difference(rng, image, word, dict(zip(colors, values, strict=True)))
    asked = rng.randrange(len(colors))
    value = values[asked]
    wrong = [str(v) for v in range(10, 101, 5) if abs(v - value) > 10]
    return Problem(
        image=image,
        text=f"what is the value of the {colors[asked]} {word}?",
        answer=str(value),
        answer_type="relaxed",
        look=f"{colors[asked]} {value}.",
        scene=_in_words(colors, values),
        wrong=wrong,
        tolerance=TOLERANCE,
    )


def _difference(rng: Random, image: Image.Image, word: str, values: dict[str, int]) -> Problem:
    high, low = sorted(rng.sample(list(values), 2), key=values.__getitem__, reverse=True)
    gap = values[high] - values[low]
    return Problem(
        image=image,
        text=f"how much higher is the {high} {word} than the {low} {word}?",
        answer=str(gap),
        answer_type="relaxed",
        look=f"{high} {values[high]}. {low} {values[low]}. {values[high]} - {values[low]} = {gap}.",
        scene=_in_words(values, values.values()),
        wrong=[str(v) for v in range(5, 96, 5) if abs(v - gap) > 10],
        tolerance=TOLERANCE,
    )


def _in_words(colors: Iterable[str], values: Iterable[int]) -> str:
    """Return everything in the chart from left to right: `red 40. blue 75.`"""
    return " ".join(f"{color} {value}." for color, value in zip(colors, values, strict=True))


def _bars(image: Image.Image, colors: list[str], values: list[int]) -> Image.Image:
    draw = ImageDraw.Draw(image)
    for i, (color, value) in enumerate(zip(colors, values, strict=True)):
        left = i * CELL_PX + 3
        draw.rectangle(
            (left, SIZE_PX - round(value * PX_PER_UNIT), left + 9, SIZE_PX - 1), fill=COLORS[color]
        )
    return image


def _points(image: Image.Image, colors: list[str], values: list[int]) -> Image.Image:
    draw = ImageDraw.Draw(image)
    spots = [
        (i * CELL_PX + 8, SIZE_PX - round(value * PX_PER_UNIT)) for i, value in enumerate(values)
    ]
    draw.line(spots, fill=(120, 120, 120))
    for (x, y), color in zip(spots, colors, strict=True):
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLORS[color])
    return image


def document(rng: Random, level: int) -> Problem:
    """Ask to read printed lines; graded by the share of correct words (1 - WER)."""
    alphabet = DIGITS if level < 3 else "".join(GLYPHS)
    rows = sorted(rng.sample(range(4), level + 1 if level < 3 else 3))
    words = ["".join(rng.choices(alphabet, k=2)) for _ in rows]
    image, ink = blank(rng), rng.choice(list(COLORS.values()))
    for row, word in zip(rows, words, strict=True):
        draw_text(image, word, rng.randrange(3), row, ink)
    wrong = [
        " ".join(rng.choice(["".join(rng.choices(alphabet, k=2)), word]) for word in words)
        for _ in range(4)
    ]
    text = " ".join(words)
    look = " ".join(" ".join(word) + "." for word in words)
    return Problem(
        image=image,
        text="read the text.",
        answer=text,
        answer_type="OCR",
        look=look,
        scene=look,
        wrong=[w for w in wrong if w != text] or ["0"],
    )
