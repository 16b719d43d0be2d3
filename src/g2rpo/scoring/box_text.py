"""One box in text that a model wrote, as OneThinker reads it, as VLMEvalKit does, and robustly.

Boxes are `(x0, y0, x1, y1)`. Every function takes time linear in the length of the text and never
raises for a strange one.
"""

import re

from g2rpo.scoring.boxes import box_iou, finite_numbers
from g2rpo.scoring.extract import final_answer, json_object
from g2rpo.scoring.places import box_in

Box = tuple[float, float, float, float]
GRID = 1000.0
_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
_GAP = r"(?:\s*+,\s*+|\s++)"
_FOUR = rf"\s*+({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER})\s*+"
_BRACKETED = re.compile(rf"\[{_FOUR}\]")
_ENCLOSED = re.compile(rf"[\[(]{_FOUR}[\])]")
_NAMED = re.compile(rf"""["'](?:boxes|bbox_2d|bbox|box)["']\s*+:\s*+(?:\[\s*+)?[\[(]{_FOUR}[\])]""")
_JSON_NUMBER = r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?"
_ALONE = re.compile(
    r"[^][{}()<>`]*\{\s*\"(?:boxes|bbox_2d)\"\s*:\s*\[\s*"
    + r"\s*,\s*".join([f"({_JSON_NUMBER})"] * 4)
    + r"\s*\]\s*\}[^][{}()<>`]*"
)
"""One JSON object with a box among words without any bracket."""
_LONGEST_ALONE = 2000
_NUMBERS = re.compile(_NUMBER)
_CORNER_NAME = re.compile(r"\b(?:bbox_2d|[xy]_?(?:[0-4]|min|max)|\d++[.)](?=\s)(?!\s*+$))")


def strict_box(text: str) -> Box | None:
    """Return the box as OneThinker reads it; None if there is none.

    The tagged answer, or the whole text, must be a JSON object whose `boxes` is a flat list of four
    numbers.

    >>> strict_box('<answer>{"boxes": [1, "2", 3, 4]}</answer>')
    (1.0, 2.0, 3.0, 4.0)
    >>> strict_box('{"boxes": [[1, 2, 3, 4]]}'), strict_box("[1, 2, 3, 4]")
    (None, None)
    """
    return _four((json_object(final_answer(text)) or {}).get("boxes"))


def loose_box(text: str) -> Box | None:
    """Return the box as VLMEvalKit reads it; None if there is none.

    The first square brackets around exactly four numbers count, else the first four numbers.

    >>> loose_box("[[1 2 3 4]]"), loose_box("x1=1 y1=2"), loose_box("1, 2, 3")
    ((1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.0, 2.0), None)
    """
    match = _BRACKETED.search(text)
    if match:
        return _four(list(match.groups()))
    words = [word[0] for word, _ in zip(_NUMBERS.finditer(text), range(4), strict=False)]
    return _four(words)


def first_box(text: str) -> Box | None:
    """Return the first box in a text, in any usual notation; None if there is none.

    The strict reading goes first, then one object among words, then `places.box_in`. Last come broken notations: an object that
    was not closed, bracketed numbers without commas, and a text with just four numbers.

    >>> first_box('see [{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8]}]')
    (1.0, 2.0, 3.0, 4.0)
    >>> first_box("(9, 8, 7, 6)"), first_box("1 2 3 4")
    ((7.0, 6.0, 9.0, 8.0), (1.0, 2.0, 3.0, 4.0))
    """
    strict = strict_box(text)
    if strict is not None:
        return strict
    answer = final_answer(text)
    alone = _ALONE.fullmatch(answer) if len(answer) <= _LONGEST_ALONE else None
    if alone is not None:
        x0, y0, x1, y1 = map(float, alone.groups())
        return in_order((x0, y0, x1, y1))
    box = box_in(answer)
    if box is not None:
        return box
    match = _NAMED.search(answer) or _ENCLOSED.search(answer)
    numbers = list(match.groups()) if match else _NUMBERS.findall(_CORNER_NAME.sub(" ", answer))
    return _four(numbers)  # a text of exactly four numbers is a box as well


def scaled(box: Box, width: float, height: float) -> Box:
    """Return the box with x times `width` and y times `height`."""
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def guessed_pixels(box: Box, width: float, height: float) -> Box:
    """Return a box in pixels, with the unit guessed as VLMEvalKit does.

    Coordinates up to 1.5 are shares, up to 1000 per mille, above that pixels. The box is clipped to
    the image and its corners are put in order.

    >>> guessed_pixels((500.0, 500.0, 100.0, -50.0), 640, 480)
    (64.0, 0.0, 320.0, 240.0)
    >>> guessed_pixels((1100.0, 10.0, 20.0, 30.0), 640, 480)
    (20.0, 10.0, 640.0, 30.0)
    """
    largest = max(map(abs, box))
    if largest <= 1.5:
        box = scaled(box, width, height)
    elif largest <= GRID:
        box = scaled(box, width / GRID, height / GRID)
    x0, y0, x1, y1 = (
        min(max(value, 0.0), float(most))
        for value, most in zip(box, (width, height) * 2, strict=True)
    )
    return in_order((x0, y0, x1, y1))


def in_order(box: Box) -> Box:
    """Return the box with its corners swapped if they are reversed."""
    return min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])


def hits(box: Box, gold: Box, least: float = 0.5) -> bool:
    """Return whether the IoU of two boxes is at least `least`.

    >>> hits((0.0, 0.0, 5.0, 10.0), (0.0, 0.0, 10.0, 10.0))
    True
    >>> hits((0.0, 0.0, 4.9, 10.0), (0.0, 0.0, 10.0, 10.0))
    False
    """
    return box_iou(list(box), list(gold)) >= least - 1e-9  # scaled corners are not exact


def _four(value: object) -> Box | None:
    numbers = finite_numbers(value, 4)
    return None if numbers is None else (numbers[0], numbers[1], numbers[2], numbers[3])
