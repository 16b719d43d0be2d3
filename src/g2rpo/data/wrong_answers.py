r"""Answers that are certainly wrong, made from a gold answer: another letter, number, box or text.

A reward that pays one of them like the gold answer reads the gold answer only in part, or not at
all. Only changes whose value is different for sure are made. A wrong answer that happens to be
right would refuse a good record, which is worse than missing a bad one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.data.rows import read_json
from g2rpo.prompt import Prompt, answer_kind

JSON_KINDS = (
    "spatial grounding",
    "segmentation",
    "temporal grounding",
    "spatial temporal grounding",
    "tracking",
)
"""Answer types whose answers are JSON."""
NUMBER_KINDS = ("numerical", "regression", "relaxed")
GARBAGE = "qxzv jwkq"
LONG_WORDS = 8
"""A text with at least this many words is also tried by its first half."""
CORNER = 60
"""Side of a wrong box, in units of the grid from 0 to 1000."""
APART = 5000
"""What is added to a wrong second or coordinate."""
FARTHEST = 1e300

_DIGITS = re.compile(r"\d+(?:\.\d+)?")
# A number whose change changes the value: no index, no exponent, no part of a name or of a longer
# number.
_VALUE = re.compile(r"(?<![\w.^])(?<![_^]\{)(?<![_^]\{[-+])(?<!\^[-+])\d+(?:\.\d+)?(?![\d.]*\d)")
# Where only one side may be compared, a function repeats its values, or words hold numbers that do
# not count.
_DOUBTFUL = re.compile(r"\u2248|[^\W\d_]{3,}")
# A factor 0, beside which no other number counts.
_ZERO = re.compile(
    r"(?:[*\u00b7\u00d7/(]|\\cdot|\\times)\s*0(?![.\d])(?!\s*[,;])|(?<![.\d])0\s*(?:\\|[*\u00b7\u00d7/a-z(])|frac\s*\{?\s*0(?![.\d])"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_PI = re.compile(r"(-?\d+(?:\.\d+)?)\s*\\pi")
_ROOT = re.compile(r"(\d*)\s*\\sqrt\s*\{\s*(\d+)\s*\}")
_FRACTION = re.compile(r"-?\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_LETTER = re.compile(r"\(?([A-Za-z])[.):](?:\s|$)")


def wrong_answers(prompt: Prompt, golds: Sequence[str]) -> list[str]:
    """Return one to four wrong answers to a prompt.

    Args:
        prompt: Its answer type and options decide the kind of change.
        golds: Its gold answers without tags; every returned answer is wrong for all of them.
    """
    kind = answer_kind(prompt.answer_type)
    if kind == "multiple choice":
        return [_other_option(golds, prompt.meta.get("options") or {})]
    if kind in JSON_KINDS:
        return [_other_json(golds[0])]
    if kind == "math":
        return [far_number(golds), *(changed_parts(golds[0]) if len(golds) == 1 else [])]
    if kind in NUMBER_KINDS and any(_DIGITS.search(gold) for gold in golds):
        return [far_number(golds)]
    words = golds[0].split()
    half = " ".join(words[: len(words) // 2])
    return [GARBAGE, *([half] if len(golds) == 1 and len(words) >= LONG_WORDS else [])]


def far_number(golds: Sequence[str]) -> str:
    """Return a number that is far from every number in the gold answers.

    >>> far_number(["3 to 5"]), far_number(["-0.5"])
    ('7934', '7920.5')
    """
    numbers = [float(found) for gold in golds for found in _DIGITS.findall(gold.replace(",", ""))]
    return f"{min(3 * max(numbers, default=0.0) + 7919, FARTHEST):.10g}"


def changed_parts(gold: str) -> list[str]:
    r"""Return a mathematical answer with one part of it changed or left out, if that is another
    value for sure.

    >>> changed_parts("2x+1"), changed_parts(r"60\pi"), changed_parts(r"2 \sqrt { 221 }")
    (['13x+1', '2x+10'], ['187\\pi', '60'], ['13 \\sqrt { 221 }', '2 \\sqrt { 670 }', '221'])
    >>> changed_parts(r"5 \text{ cm}"), changed_parts("x_1"), changed_parts("8")
    ([], [], [])
    """
    bare = gold.strip().strip("$").strip()
    doubtful = _ZERO.search(bare) or _DOUBTFUL.search(_COMMAND.sub(_kept_command, bare))
    changed = [] if doubtful else _changed_numbers(bare)
    return [*changed, *_left_out(bare)]


def option_letters(gold: str) -> str:
    """Return the letters that a multiple-choice gold answer consists of or begins with; empty if
    none.

    >>> [option_letters(gold) for gold in ("b", "(C)", "A, C", "C. tall girl", "tall girl", "AC")]
    ['B', 'C', 'AC', 'C', '', 'AC']
    """
    bare = re.sub(r"[().,;:/&\s]|\band\b", "", gold)
    alone = len(bare) == 1 or bare.isupper()
    if bare.isascii() and bare.isalpha() and alone and len(set(bare)) == len(bare):
        return bare.upper()
    label = _LETTER.match(gold.strip())
    return label[1].upper() if label else ""


def _kept_command(match: re.Match[str]) -> str:
    """Commands are judged by their names; those that build expressions are no words."""
    harmless = (
        "frac",
        "dfrac",
        "tfrac",
        "sqrt",
        "left",
        "right",
        "cdot",
        "times",
        "cup",
        "cap",
        "leq",
        "geq",
        "neq",
    )
    return " " if match[0][1:] in harmless or len(match[0]) <= 3 else match[0]


def _changed_numbers(bare: str) -> list[str]:
    """The first and the last number changed, each alone; after the last equals sign only."""
    start = bare.rfind("=") + 1
    found = list(_VALUE.finditer(bare, start))
    if not found or found[0][0] == bare.lstrip("-+ "):
        return []
    ends = [found[0]] if len(found) == 1 else [found[0], found[-1]]
    return [f"{bare[: at.start()]}{3 * float(at[0]) + 7:.10g}{bare[at.end() :]}" for at in ends]


def _left_out(bare: str) -> list[str]:
    if (pi := _PI.fullmatch(bare)) and float(pi[1]):
        return [pi[1]]
    if root := _ROOT.fullmatch(bare):
        factor, radicand = int(root[1] or 1), int(root[2])
        return [root[2]] if radicand not in (0, factor**2) else []
    if fraction := _FRACTION.fullmatch(bare):
        above, below = int(fraction[1]), int(fraction[2])
        return [str(below)] if above != below**2 else []
    return []


def _other_option(golds: Sequence[str], options: Mapping[str, str]) -> str:
    right = {letter for gold in golds for letter in option_letters(gold)}
    same = {gold.strip().lower() for gold in golds}
    others = [
        letter
        for letter in (options or "ABCDEFGH")
        if letter not in right and str(options.get(letter, "")).strip().lower() not in same
    ]
    return others[0] if others else sorted(right)[0] if len(right) > 1 else GARBAGE


def _other_json(gold: str) -> str:
    try:
        return json.dumps(_moved(read_json(gold)))
    except ValueError:
        return GARBAGE


def _moved(value: Any) -> Any:
    """A box becomes a small one in the corner that is farther from it; other numbers move out of
    reach.
    """
    if isinstance(value, Mapping):
        return {name: _moved(item) for name, item in value.items()}
    if isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)):
        far = 0 if value[0] + value[2] > 1000 else 1000 - CORNER
        return [far, far, far + CORNER, far + CORNER]
    if isinstance(value, list):
        return [_moved(item) for item in value]
    return value + APART if _is_number(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
