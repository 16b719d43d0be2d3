r"""Extraction of the answer from a completion, and the check of its format.

The answer is found in `<answer>` tags, `\boxed{}`, markdown and LaTeX, after the thinking. Both
families of tags are known, `<thinking>` and `<think>` (and `<thought>`), whatever the model was
trained with. The format is that of OpenVLThinker-v2: `<thinking> ... </thinking> <answer> ...
</answer>` and nothing else. All functions take time linear in the length of the text: completions
are written by a model that is being optimized, and may be anything.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from g2rpo.scoring.kept import kept

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


def finite_numbers(value: object, count: int) -> tuple[float, ...] | None:
    """Return a list of `count` finite numbers, or of strings that read as such; else None.

    >>> finite_numbers([1, "2.5"], 2), finite_numbers([1, 2], 4)
    ((1.0, 2.5), None)
    >>> finite_numbers([float("nan"), 0], 2)
    """
    if not isinstance(value, list) or len(value) != count:
        return None
    try:
        numbers = tuple(float(item) for item in value)
    except (
        TypeError,
        ValueError,
        OverflowError,
    ):  # a list or None; a word; an integer beyond the range of a float
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


_TAG = re.compile(r"<\s*+(/?)\s*+(thinking|think|thought|answer)\s*+>", re.IGNORECASE)
_DRESSING = re.compile(
    r"[`$\"“”]++|^[#*]++"
    r" |(?:^|(?<=[\s(\[{]))[*_'‘]++(?=[^\s*])|(?<=[^\s*])[*_'’]++(?=$|[\s.,:;!?)\]}])",
    re.MULTILINE,
)
"""Quotes, dollar signs; marks of emphasis and headings at the edges of words, where `2 * 3`, `2*3`
and `x_1` have none.
"""
_MARK = re.compile(r"[`$\"“”#*_'‘’]")
_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|textit|operatorname)\s*+(?=\{)")
_BRACE = re.compile(r"(\x00?\{|\})")
_BOX = "\\boxed{"
_MINUS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "‐": "-",
        "‑": "-",
        "\u00a0": " ",
        "\u200b": None,
        "\ufeff": None,
        "\x00": None,
    }
)


def clean(text: str) -> str:
    r"""Return the answer in a completion; empty if the thinking never ended.

    It is what stands after the thinking, in the first answer tags, in the last box.

    >>> clean(r"<thinking>5?</thinking><answer>so \boxed{6}</answer>"), clean("<think>5 or")
    ('6', '')
    >>> clean(" 7 ")
    '7'
    """
    return unboxed(tagged(without_thinking(text.replace("\x00", ""))))


def unboxed(text: str) -> str:
    r"""Return the content of the last box of an answer; the answer itself if it has none.

    >>> unboxed(r"so \boxed{6}"), unboxed(" 6 ")
    ('6', '6')
    """
    boxed = last_box(text)
    return (text if boxed is None else boxed).strip()


def without_thinking(text: str) -> str:
    """Return what follows the last closing tag of thinking.

    If thinking was opened and never closed, return what follows its first answer tag, if any.

    >>> without_thinking("<think>A</think>B"), without_thinking("<think>A <answer>B</answer>")
    ('B', '<answer>B</answer>')
    >>> without_thinking("<thinking>A")
    ''
    """
    opened, closed, answer = None, None, None
    for tag in _tags(text):
        if tag[2].lower() == "answer":
            answer = tag.start() if opened is not None and answer is None and not tag[1] else answer
        elif tag[1]:
            closed = tag.end()
        elif opened is None:
            opened = tag.start()
    if closed is not None:
        return text[closed:]
    if opened is not None:
        return text[answer:] if answer is not None else ""
    return text


def tagged(text: str) -> str:
    """Return the content of the first answer tags, or the whole text if there are none.

    The tags may be left open at the end.

    >>> tagged("so <answer> B </answer><answer>C</answer>"), tagged("<answer>B"), tagged("B")
    ('B', 'B', 'B')
    """
    start: int | None = None
    for tag in _tags(text):
        if tag[2].lower() != "answer":
            continue
        if start is None and not tag[1]:
            start = tag.end()
        elif start is not None and tag[1]:
            return text[start : tag.start()].strip()
    return text[start or 0 :].strip()


def last_box(text: str) -> str | None:
    r"""Return the content of the last `\boxed{...}`, with balanced braces; None if none is closed.

    >>> last_box(r"\boxed{5}, no, \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    >>> last_box(r"\boxed{\boxed{5}}"), last_box(r"\boxed{5")
    ('5', None)
    """
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 0
    for place in range(start + len(_BOX) - 1, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start + len(_BOX) : place].strip()
    return None


@kept
def plain(text: str) -> str:
    r"""Return the text without markdown marks, quotes, dollar signs and `\text{}`.

    Minus signs and full-width characters get their plain form.

    >>> plain(r"**Ｂ**"), plain(r"$\text{B}$"), plain("−3")
    ('B', 'B', '-3')
    """
    if not text.isascii() or "\x00" in text:
        text = unicodedata.normalize("NFKC", text.translate(_MINUS)).translate(_MINUS)
    if "\\" in text:
        text = _unwrapped(text)
    return _DRESSING.sub("", text).strip() if _MARK.search(text) else text.strip()


def _tags(text: str) -> Iterator[re.Match[str]]:
    lowered = text.lower() if "<" in text else ""
    named = "answer" in lowered or "think" in lowered or "thought" in lowered
    return _TAG.finditer(text) if named else iter(())


def _unwrapped(text: str) -> str:
    r"""Return the text without LaTeX wrappers and their braces; other braces stay."""
    if _WRAPPER.search(text) is None:
        return text
    pieces: list[str] = []
    depths: list[bool] = []  # for every open brace whether it belongs to a wrapper
    for piece in _BRACE.split(_WRAPPER.sub("\x00", text)):
        if piece in ("{", "\x00{"):
            depths.append(piece != "{")
            pieces.append("" if depths[-1] else piece)
        elif piece != "}" or not (depths and depths.pop()):
            pieces.append(piece)
    return "".join(pieces).replace("\x00", "")
