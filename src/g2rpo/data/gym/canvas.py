"""Drawing on 64 x 64 pixels: shapes in the cells of a 4 x 4 board, and characters of a 3 x 5 dot
font.

A cell is 16 pixels wide. Whatever is drawn is exact in integer pixels, without anti-aliasing and
without a font file, so the same (seed, index) gives the same bytes on every machine.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

SIZE_PX = 64
CELL_PX = 16
SHAPES = ("circle", "square", "triangle", "cross")
COLORS = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "yellow": (240, 200, 0),
    "purple": (150, 50, 180),
    "black": (20, 20, 20),
}
BACKGROUNDS = ((255, 255, 255), (235, 235, 235), (225, 235, 245), (245, 238, 225))
GLYPHS = {
    "0": ("111", "101", "101", "101", "111"),
    "1": ("010", "110", "010", "010", "111"),
    "2": ("111", "001", "111", "100", "111"),
    "3": ("111", "001", "011", "001", "111"),
    "4": ("101", "101", "111", "001", "001"),
    "5": ("111", "100", "111", "001", "111"),
    "6": ("100", "100", "111", "101", "111"),
    "7": ("111", "001", "010", "010", "010"),
    "8": ("111", "101", "111", "101", "111"),
    "9": ("111", "101", "111", "001", "001"),
    "A": ("010", "101", "111", "101", "101"),
    "C": ("011", "100", "100", "100", "011"),
    "F": ("111", "100", "110", "100", "100"),
    "H": ("101", "101", "111", "101", "101"),
    "L": ("100", "100", "100", "100", "111"),
    "X": ("101", "101", "010", "101", "101"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A colored shape in one cell, `column` and `row` counted from 1.

    `box` is (left, top, right, bottom) in pixels, right and bottom exclusive.
    """

    color: str
    shape: str
    column: int
    row: int
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """Name in questions: `red circle`."""
        return f"{self.color} {self.shape}"

    @property
    def center_px(self) -> tuple[float, float]:
        """Center of the box, in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def blank(rng: Random) -> Image.Image:
    """Return a canvas with one of four light backgrounds."""
    return Image.new("RGB", (SIZE_PX, SIZE_PX), rng.choice(BACKGROUNDS))


def place(rng: Random, names: list[tuple[str, str]]) -> list[Thing]:
    """Puts each (color, shape) into a cell of its own, with a random size (12 to 16 px) and
    position inside the cell.
    """
    cells = rng.sample([(column, row) for row in range(4) for column in range(4)], len(names))
    return [
        _thing(rng, color, shape, column, row)
        for (color, shape), (column, row) in zip(names, cells, strict=True)
    ]


def _thing(rng: Random, color: str, shape: str, column: int, row: int) -> Thing:
    side = rng.choice((12, 14, 16))
    left = column * CELL_PX + rng.randrange(0, CELL_PX - side + 1, 2)
    top = row * CELL_PX + rng.randrange(0, CELL_PX - side + 1, 2)
    return Thing(
        color=color,
        shape=shape,
        column=column + 1,
        row=row + 1,
        box=(left, top, left + side, top + side),
    )


def draw_things(image: Image.Image, things: list[Thing]) -> Image.Image:
    """Draw every thing into its box."""
    draw = ImageDraw.Draw(image)
    for thing in things:
        _draw_shape(draw, thing.shape, thing.box, COLORS[thing.color])
    return image


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    shape: str,
    box: tuple[int, int, int, int],
    color: tuple[int, int, int],
) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    third = (right - left + 1) // 3
    if shape == "circle":
        draw.ellipse((left, top, right, bottom), fill=color)
    elif shape == "square":
        draw.rectangle((left, top, right, bottom), fill=color)
    elif shape == "triangle":
        draw.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=color)
    else:
        draw.rectangle((left + third, top, right - third, bottom), fill=color)
        draw.rectangle((left, top + third, right, bottom - third), fill=color)


def draw_text(
    image: Image.Image, text: str, column: int, row: int, color: tuple[int, int, int]
) -> None:
    """Writes `text` from a cell on, one character a cell, each dot 3 pixels wide; `column` and
    `row` count from 0.
    """
    draw = ImageDraw.Draw(image)
    for offset, character in enumerate(text):
        left, top = (column + offset) * CELL_PX + 3, row * CELL_PX
        for y, line in enumerate(GLYPHS[character]):
            for x, dot in enumerate(line):
                if dot == "1":
                    draw.rectangle(
                        (left + 3 * x, top + 3 * y, left + 3 * x + 2, top + 3 * y + 2), fill=color
                    )


def to_grid(box: tuple[int, int, int, int]) -> list[int]:
    """Convert pixels to the 0-1000 grid of questions and answers."""
    return [round(value * 1000 / SIZE_PX) for value in box]
