r"""Sixty records in the schema of Geometry3K: `images`, `problem` with `<image>`, `answer` in bare
LaTeX.

Each record comes with answers that a person would call right or wrong. Their values are worked out
here from the drawn lengths, not by a reader of answers.
"""

import math
from pathlib import Path
from typing import NamedTuple

import datasets
from PIL import Image, ImageDraw

ROWS = 60


class Problem(NamedTuple):
    """A drawn problem, its gold answer, and answers to be judged."""

    text: str
    image: Image.Image
    answer: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def problems() -> list[Problem]:
    """All records; radicals, fractions, multiples of pi, decimals and whole numbers take turns."""
    makers = (_hypotenuse, _ratio, _arc, _height, _angle, _area)
    return [makers[number % len(makers)](number // len(makers)) for number in range(ROWS)]


def write_parquet(path: Path) -> list[Problem]:
    """Write the records as a data set with decoded images would be stored; return them."""
    made = problems()
    columns = {
        "images": [[problem.image] for problem in made],
        "problem": [problem.text for problem in made],
        "answer": [problem.answer for problem in made],
    }
    features = datasets.Features(
        images=datasets.List(datasets.Image()),
        problem=datasets.Value("string"),
        answer=datasets.Value("string"),
    )
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)
    return made


def _hypotenuse(number: int) -> Problem:
    """Legs 2a and 2b, so that the root keeps a factor: 2 sqrt(221) for 20 and 22."""
    a, b = 4 + number, 5 + number
    inside = a * a + b * b
    assert math.isqrt(inside) ** 2 != inside
    return Problem(
        "<image>Find x. Round to the nearest tenth if necessary.",
        _triangle(f"{2 * a}", f"{2 * b}", "x"),
        rf"2 \sqrt {{ {inside} }}",
        (
            rf"$2\sqrt{{{inside}}}$",
            rf"\sqrt{{{4 * inside}}}",
            f"2*sqrt({inside})",
            rf"$x = 2\sqrt{{{inside}}}$",
        ),
        (
            f"{inside}",
            "2",
            rf"$\sqrt{{{inside}}}$",
            rf"$3\sqrt{{{inside}}}$",
            rf"$2\sqrt{{{inside + 1}}}$",
            rf"2, {inside}",
            rf"$-2\sqrt{{{inside}}}$",
            f"{2 * inside}",
        ),
    )


def _ratio(number: int) -> Problem:
    above, below = 2 * number + 5, 3 ** (1 + number % 3) * 2
    value = above / below
    return Problem(
        "<image>The triangles are similar. Find y.",
        _triangle(f"{above}", f"{below}", "y"),
        rf"\frac {{ {above} }} {{ {below} }}",
        (
            rf"$\frac{{{above}}}{{{below}}}$",
            f"{above}/{below}",
            rf"$\dfrac{{{3 * above}}}{{{3 * below}}}$",
        ),
        (
            f"{above}",
            f"{below}",
            rf"$\frac{{{below}}}{{{above}}}$",
            rf"$\frac{{{above}}}{{{below + 1}}}$",
            f"{value + 1:.4f}",
            rf"$-\frac{{{above}}}{{{below}}}$",
            f"{above}, {below}",
            f"{above}:{below + 1}",
        ),
    )


def _arc(number: int) -> Problem:
    radius = number + 3
    return Problem(
        "Find the circumference of the circle. <image> Give it in terms of pi.",
        _circle(f"r = {radius}"),
        rf"{2 * radius} \pi",
        (rf"${2 * radius}\pi$", rf"{2 * radius}\pi", f"{2 * radius}*pi", rf"$2 \cdot {radius}\pi$"),
        (
            f"{2 * radius}",
            rf"${radius}\pi$",
            rf"${2 * radius + 1}\pi$",
            rf"$\frac{{{2 * radius}}}{{\pi}}$",
            r"$\pi$",
            rf"${2 * radius}\pi^2$",
        ),
    )


def _height(number: int) -> Problem:
    side = 2 * number + 3
    return Problem(
        "<image>Find the height h of the equilateral triangle.",
        _triangle(f"{side}", f"{side}", "h"),
        rf"\frac {{ {side} \sqrt {{ 3 }} }} {{ 2 }}",
        (
            rf"$\frac{{{side}\sqrt{{3}}}}{{2}}$",
            rf"${side}\sqrt{{3}}/2$",
            f"{side}*sqrt(3)/2",
            rf"$\frac{{{3 * side}}}{{2\sqrt{{3}}}}$",
        ),
        (
            f"{side}",
            "3",
            "2",
            rf"${side}\sqrt{{3}}$",
            rf"$\frac{{{side}\sqrt{{2}}}}{{2}}$",
            rf"$\frac{{{side}\sqrt{{3}}}}{{3}}$",
            f"{side}, 3, 2",
            rf"$\frac{{{side + 1}\sqrt{{3}}}}{{2}}$",
        ),
    )


def _angle(number: int) -> Problem:
    degrees = 31 + 5 * number
    return Problem(
        rf"<image>Find $m \angle {number + 1}$.",
        _triangle(f"{degrees}", "?", f"{90 - degrees % 90}"),
        f"{degrees}",
        (
            f"${degrees}$",
            f"{degrees}",
            rf"${degrees}^\circ$",
            f"{degrees} degrees",
            rf"\boxed{{{degrees}}}",
        ),
        (
            f"{degrees + 1}",
            rf"{degrees}\pi",
            f"1, 2, {degrees}",
            f"-{degrees}",
            f"{degrees}0",
            f"0.{degrees}",
            f"between 2 and {degrees}",
        ),
    )


def _area(number: int) -> Problem:
    base, height = 2 * number + 1, 2.5 + number
    value = base * height / 2
    return Problem(
        "<image>Find the area.",
        _triangle(f"{base}", f"{height}", "A"),
        f"{value:g}",
        (f"${value:g}$", f"{value:.4f}", f"The area is {value:g}."),
        (
            f"{value + 0.5:g}",
            f"{2 * value:g}",
            f"{base}",
            f"{value * 10:g}",
            rf"${value:g}x$",
            f"{value + 0.02:g}",
        ),
    )


def _triangle(left: str, below: str, across: str) -> Image.Image:
    image = Image.new("RGB", (160, 120), "white")
    draw = ImageDraw.Draw(image)
    draw.polygon([(30, 20), (30, 100), (140, 100)], outline="black")
    for place, words in (((4, 55), left), ((75, 104), below), ((95, 45), across)):
        draw.text(place, words, fill="black")
    return image


def _circle(words: str) -> Image.Image:
    image = Image.new("RGB", (120, 120), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 100, 100), outline="black")
    draw.text((45, 50), words, fill="black")
    return image
