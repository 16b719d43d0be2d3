"""A drawn problem: image, question, answer, and the reasoning that leads to it."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A question about one image.

    `look` is the reasoning that leads to the answer, `scene` lists everything in the picture in
    reading order, and `wrong` holds plausible wrong answers.
    """

    image: Image.Image
    text: str
    answer: str
    answer_type: str
    look: str
    scene: str
    wrong: list[str]
    tolerance: float = 0.0
    """Relative tolerance of a `relaxed` answer."""
