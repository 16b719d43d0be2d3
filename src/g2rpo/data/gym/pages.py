"""Questions about charts and printed text: `chart`, `document`."""

from collections.abc import Iterable
from random import Random

from PIL import Image, ImageDraw

from g2rpo.data.gym.canvas import CELL_PX, COLORS, GLYPHS, SIZE_PX, blank, draw_text
from g2rpo.data.gym.problem import Problem

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
        scene=_listed(colors, values),
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
        scene=_listed(values, values.values()),
        wrong=[str(v) for v in range(5, 96, 5) if abs(v - gap) > 10],
        tolerance=TOLERANCE,
    )


def _listed(colors: Iterable[str], values: Iterable[int]) -> str:
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
