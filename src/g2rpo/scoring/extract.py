"""Extraction of the answer from a completion, and the check of its format.

The format is that of OpenVLThinker-v2: `<thinking> ... </thinking> <answer> ... </answer>` and
nothing else. All functions take time linear in the length of the text: completions are written by a
model that is being optimized, and may be anything.
"""

import json
import re
from typing import Any

# Possessive quantifiers (`*+`): a run of 100,000 spaces after `<` must not be tried at every
# length.
_LOOSE_TAGS, _TURNS = (
    {tag: re.compile(pattern.format(tag=tag)) for tag in ("thinking", "think")}
    for pattern in (r"<\s*+(/?)\s*+({tag}|answer)\s*+>", r"</{tag}>\s*+<answer>")
)
THINK_TAGS = tuple(_TURNS)
"""Tags between which a model may be asked to think."""
_OPEN, _CLOSE = "<answer>", "</answer>"


def tidy_tags(text: str, think_tag: str = "thinking") -> str:
    """Return the text without whitespace inside its tags, which the release forgives.

    >>> tidy_tags("< thinking >3 < 4</ thinking>")
    '<thinking>3 < 4</thinking>'
    """
    return _LOOSE_TAGS[think_tag].sub(r"<\1\2>", text)


def tagged_answer(text: str) -> str:
    """Return the stripped text in the first pair of `<answer>` tags; empty if there is no pair.

    >>> tagged_answer("<thinking>so</thinking><answer> B </answer><answer>C</answer>")
    'B'
    """
    _, opened, rest = text.partition(_OPEN)
    body, closed, _ = rest.partition(_CLOSE)
    return body.strip() if opened and closed else ""


def final_answer(text: str) -> str:
    """Return the tagged answer, or the whole text if there is none or it is empty.

    >>> final_answer("<answer>7</answer>"), final_answer(" 7 ")
    ('7', '7')
    """
    return tagged_answer(text) or text.strip()


def keeps_format(text: str, think_tag: str = "thinking") -> bool:
    """Return whether the text is thinking, then an answer, and nothing around them.

    A second answer block counts as part of the first. `think_tag` is one of `THINK_TAGS`.

    >>> keeps_format("<thinking>so</thinking> <answer>B</answer>")
    True
    >>> keeps_format("<answer>B</answer>")
    False
    """
    text = text.strip()
    opening = f"<{think_tag}>"
    framed = text.startswith(opening) and text.endswith(_CLOSE)
    return framed and _TURNS[think_tag].search(text, len(opening)) is not None


def json_object(text: str) -> dict[str, Any] | None:
    """Return the text as one JSON object; None for anything else, such as a code fence around it.

    >>> json_object('{"time": [2, 8]}'), json_object("[2, 8]"), json_object("{")
    ({'time': [2, 8]}, None, None)
    """
    try:
        value = json.loads(text)
    except (
        ValueError,
        RecursionError,
    ):  # not JSON, an integer of more digits than Python reads, or 10,000 nested brackets
        return None
    return value if isinstance(value, dict) else None
