"""Demo records of the benchmarks whose answers are places, from prompts whose answer is a box on the 0-1000 grid."""

import json
import re
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from g2rpo.records import Prompt

Records = list[dict[str, Any]]
SLANT = 0.02
"""By how much of the image's width the sides of a polygon lean: VLMEvalKit's rule finds nothing inside upright boxes."""
_NAMED = re.compile(r"the (\w+ \w+)\.$")


def refspatial(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns; the mask is white in the box."""
    name, image = _name(prompt), prompt.images[0]
    mask = Image.new("L", image.size)
    x0, y0, x1, y1 = (round(share * side) for share, side in zip(_shares(prompt), image.size * 2, strict=True))
    ImageDraw.Draw(mask).rectangle((x0, y0, x1 - 1, y1 - 1), fill=255)
    return [
        {
            "id": number,
            "split": ("location", "placement", "unseen")[number % 3],
            "image": image,
            "mask": mask,
            "object": f"the {name}",
            "prompt": f"Please point out the {name}.",
            "suffix": "Your answer should be formatted as a list of tuples, i.e. [(x, y)], of shares of the image between 0 and 1.",
            "step": 1,
        }
    ]


def robospatial(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns: two questions with yes or no for each one with a polygon."""
    name, (x0, y0, x1, y1) = _name(prompt), _shares(prompt)
    if number % 3 == 2:
        corners = ((x0, y0 + SLANT), (x1 - SLANT, y0), (x1, y1 - SLANT), (x0 + SLANT, y1))
        written = ", ".join(f"({x:.3f}, {y:.3f})" for x, y in corners)
        hint = "Your answer should be formatted as a list of tuples, i.e. [(x1, y1), (x2, y2), ...]."
        return [_robospatial("context", f"Point within the {name}. {hint}", f"[{written}]", prompt, number)]
    left = (x0 + x1) / 2 < 0.5
    side = ("left", "right")[number // 3 % 2]
    question = f"Is the {name} in the {side} half of the image? Answer yes or no."
    category = ("compatibility", "configuration")[number % 3]
    return [_robospatial(category, question, "yes" if left == (side == "left") else "no", prompt, number)]


def refcoco(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """OneThinker's columns."""
    return [
        {
            "problem_id": number,
            "problem": f"<image>Please provide the bounding box coordinate of the region this sentence describes: {_name(prompt)}.",
            "data_type": "image",
            "problem_type": "spatial grounding",
            "options": [],
            "solution": f"<answer>{prompt.answer}</answer>",
            "images": [prompt.images[0]],
            "split": "val",
        }
    ]


def _robospatial(category: str, question: str, answer: str, prompt: Prompt, number: int) -> dict[str, Any]:
    return {
        "category": category, "question": question, "answer": answer, "img": prompt.images[0], "depth_image": None, "mask": None,
        "index": number,
    }  # fmt: skip


def _name(prompt: Prompt) -> str:
    """What the prompt asks for: `red circle`."""
    match = _NAMED.search(prompt.text)
    return match[1] if match else prompt.text


def _shares(prompt: Prompt) -> list[float]:
    return [value / 1000 for value in json.loads(prompt.answer)["boxes"]]
