r"""Extraction of an answer from thinking, `<answer>` tags, `\boxed{}`, markdown and LaTeX.

Both families of tags are known, `<thinking>` and `<think>` (and `<thought>`), whatever the model
was trained with. Everything is linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Iterator

_TAG = re.compile(r"<\s*+(/?)\s*+(thinking|think|thought|answer)\s*+>", re.IGNORECASE)
_DRESSING = re.compile(
    r"[`$\"“”]++|^[#*]++"
    r" |(?:^|(?<=[\s(\[{]))[*_'‘]++(?=[^\s*])|(?<=[^\s*])[*_'’]++(?=$|[\s.,:;!?)\]}])",
    re.MULTILINE,
)
"""Quotes, dollar signs; marks of emphasis and headings at the edges of words, where `2 * 3`, `2*3`
and `x_1` have none.
"""
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


def plain(text: str) -> str:
    r"""Return the text without markdown marks, quotes, dollar signs and `\text{}`.

    Minus signs and full-width characters get their plain form.

    >>> plain(r"**Ｂ**"), plain(r"$\text{B}$"), plain("−3")
    ('B', 'B', '-3')
    """
    text = unicodedata.normalize("NFKC", text.translate(_MINUS)).translate(_MINUS)
    if "\\" in text:
        text = _unwrapped(text)
    return _DRESSING.sub("", text).strip()


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
