"""What demo rows share: a prompt of the gym, rewritten in the columns that a benchmark has on the
Hub or as a TSV.
"""

import json
import re
from collections.abc import Sequence
from random import Random

from g2rpo.prompt import Prompt

LETTERS = "ABCD"
_NAMED = re.compile(r"the (\w+ \w+)\.$")


def question_alone(prompt: Prompt) -> str:
    """The text up to the question mark, without the words to choose from that follow it."""
    head, mark, _ = prompt.text.partition("?")
    return head + mark


def shuffled_options(prompt: Prompt, wrong: Sequence[str]) -> list[str]:
    """The right answer among wrong ones, in an order that depends on the prompt's id alone."""
    options = [prompt.answer, *wrong]
    Random(prompt.id).shuffle(options)  # noqa: S311
    return options


def letter_of(prompt: Prompt, options: Sequence[str]) -> str:
    """The letter of the right option."""
    return LETTERS[list(options).index(prompt.answer)]


def named_object(prompt: Prompt) -> str:
    """The object that a grounding prompt asks for: `red circle`."""
    match = _NAMED.search(prompt.text)
    return match[1] if match else prompt.text


def box_shares(prompt: Prompt) -> list[float]:
    """The gold box of a grounding prompt as x0, y0, x1, y1 in shares of the image."""
    return [value / 1000 for value in json.loads(prompt.answer)["boxes"]]
