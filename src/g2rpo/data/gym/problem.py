"""One drawn problem: what is asked, what is right, and what a solver would write down on the
way.
"""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A question about one image. `look` is the reasoning that leads to the answer, `scene` all
    that the picture shows in reading order, `wrong` are believable wrong answers.
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
