"""Helpers for demo rows: prompts of the gym, rewritten in the columns of a benchmark's data."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from random import Random

from g2rpo.prompt import Prompt

LETTERS = "ABCD"
_NAMED = re.compile(r"the (\w+ \w+)\.$")


def question_alone(prompt: Prompt) -> str:
    """Return the text up to the question mark, without the options that follow it."""
    head, mark, _ = prompt.text.partition("?")
    return head + mark


def wrong_answers(prompt: Prompt, others: Iterable[str] = (), count: int = 3) -> list[str]:
    """Return up to `count` distinct wrong answers.

    Those that the source gives come first, in an order fixed by the prompt's id, then `others`.
    """
    given = [answer for answer in prompt.meta.get("wrong", ()) if answer != prompt.answer]
    Random(prompt.id).shuffle(given)  # noqa: S311
    found = dict.fromkeys(given)
    if len(found) < count:
        found |= dict.fromkeys(answer for answer in others if answer != prompt.answer)
    return list(islice(found, count))


def options_at(prompt: Prompt, wrong: Sequence[str], place: int) -> list[str]:
    """Return the wrong answers with the right one at `place`, counted from 0 and around the end."""
    place %= len(wrong) + 1
    return [*wrong[:place], prompt.answer, *wrong[place:]]


def letter_of(prompt: Prompt, options: Sequence[str]) -> str:
    """Return the letter of the right option."""
    return LETTERS[list(options).index(prompt.answer)]


def named_object(prompt: Prompt) -> str:
    """Return the object that a grounding prompt asks for, such as `red circle`."""
    match = _NAMED.search(prompt.text)
    return match[1] if match else prompt.text


def box_shares(answer: str) -> list[float]:
    """Return a box of a grounding prompt as x0, y0, x1, y1, each a fraction of the image."""
    return [value / 1000 for value in json.loads(answer)["boxes"]]


def center_point(answer: str) -> str:
    """Return the center of a grounding prompt's box as JSON with `point_2d`, in thousandths.

    >>> center_point('{"boxes": [0, 500, 250, 750]}')
    '[{"point_2d": [125, 625]}]'
    """
    x0, y0, x1, y1 = json.loads(answer)["boxes"]
    return json.dumps([{"point_2d": [round((x0 + x1) / 2), round((y0 + y1) / 2)]}])
