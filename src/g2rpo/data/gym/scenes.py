"""Questions about colored shapes: `general_vqa`, `math`, `spatial`, `grounding`.

Each function draws one problem from its random generator. `level` (0 to 3) sets the number of
things to tell apart: 0 shows a single one and serves curricula.
"""

import json
import math
from random import Random

from PIL import Image

from g2rpo.data.gym.canvas import COLORS, SHAPES, Thing, blank, draw_things, place, to_grid
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
