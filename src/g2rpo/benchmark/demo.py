"""Helpers for demo rows: prompts of the gym, rewritten in the columns of a benchmark's data."""

import json
import re
from collections.abc import Sequence
from random import Random

from g2rpo.prompt import Prompt

LETTERS = "ABCD"
_NAMED = re.compile(r"the (\w+ \w+)\.$")


def question_alone(prompt: Prompt) -> str:
    """Return the text up to the question mark, without the options that follow it."""
    head, mark, _ = prompt.text.partition("?")
    return head + mark


def shuffled_options(prompt: Prompt, wrong: Sequence[str]) -> list[str]:
    """Return the right answer among wrong ones, in an order fixed by the prompt's id."""
    options = [prompt.answer, *wrong]
    Random(prompt.id).shuffle(options)  # noqa: S311
    return options


def letter_of(prompt: Prompt, options: Sequence[str]) -> str:
    """Return the letter of the right option."""
    return LETTERS[list(options).index(prompt.answer)]


def named_object(prompt: Prompt) -> str:
    """Return the object that a grounding prompt asks for, such as `red circle`."""
    match = _NAMED.search(prompt.text)
    return match[1] if match else prompt.text


def box_shares(prompt: Prompt) -> list[float]:
    """Return the gold box of a grounding prompt as x0, y0, x1, y1, each a fraction of the image."""
    return [value / 1000 for value in json.loads(prompt.answer)["boxes"]]
