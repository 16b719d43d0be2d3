"""Which part of a completion is the answer, and does the completion keep the format the prompt
asked for.

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
    """The text with the whitespace inside its tags removed, which the release forgives.

    >>> tidy_tags("< thinking >3 < 4</ thinking>")
    '<thinking>3 < 4</thinking>'
    """
    return _LOOSE_TAGS[think_tag].sub(r"<\1\2>", text)


def tagged_answer(text: str) -> str:
    """What stands in the first pair of `<answer>` tags, stripped; empty where there is no such
    pair.

    >>> tagged_answer("<thinking>so</thinking><answer> B </answer><answer>C</answer>")
    'B'
    """
    _, opened, rest = text.partition(_OPEN)
    body, closed, _ = rest.partition(_CLOSE)
    return body.strip() if opened and closed else ""


def final_answer(text: str) -> str:
    """The tagged answer, or the whole text where there is none or an empty one.

    >>> final_answer("<answer>7</answer>"), final_answer(" 7 ")
    ('7', '7')
    """
    return tagged_answer(text) or text.strip()


def keeps_format(text: str, think_tag: str = "thinking") -> bool:
    """Whether the text is thinking, then an answer, and nothing around them.

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
    """The text as one JSON object; None for anything else, a code fence around it included.

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
