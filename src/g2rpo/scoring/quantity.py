"""Numbers in answers, with thousands commas, percent signs and units."""

import math
import re

from g2rpo.scoring.arithmetic import latex_value
from g2rpo.scoring.extract import plain
from g2rpo.scoring.kept import kept
from g2rpo.scoring.math import same_mathematics

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    rf"(?<![\w.^])(?<!\^\{{)([-+]?{_DIGITS}(?:[eE][-+]?\d+)?)(?:\s*/\s*(\d+(?:\.\d+)?))?"
)
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\circ|\\degree|°|º|\{?\bdegrees?\b\}?")
_UNIT = re.compile(
    r"(?<=[\d}\s)])\s*\{?\\?(?:text)?\{?\s*(?:square|sq\.?|cubic)?\s*(?:km|cm|mm|dm|m|in|ft|kg|mg|g|s|min|h|units?|meters?|metres?|centimet(?:er|re)s?"
    r"|kilomet(?:er|re)s?|feet|foot|inch(?:es)?|yards?|miles?|seconds?|minutes?|hours?|years?|days?|litres?|liters?|ml|l)\s*(?:\^?\{?[23²³]\}?)?\}*\.?$",
    re.IGNORECASE,
)
_LEFT_SIDE = re.compile(r"^\s*\\?[A-Za-z](?:\w|_\{?\w+\}?)*\s*(?:\([A-Za-z]\))?\s*=\s*(?=\S)")
_FORMULA, _WORD = (
    re.compile(r"\d|[A-Za-z]\s*[=+^<>/]|\\"),
    re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}|__|\*\*"),
)
_LONGEST = 2000
_LONGEST_MATHEMATICS, _DEEPEST_MATHEMATICS = 120, 6
"""Characters and brackets of an answer that is handed to the mathematics parser, whose time grows
fast with both.
"""


def numbers(text: str) -> list[float]:
    """Return all numbers of a text in order.

    >>> numbers("between 2014 and 1,016.5")
    [2014.0, 1016.5]
    """
    found = [
        float(match[1].replace(",", "")) for match in _NUMBER.finditer(plain(text[-_LONGEST:]))
    ]
    return [value for value in found if math.isfinite(value)]


def exact_number(text: str) -> float | None:
    r"""Return the text as one number; None for anything else.

    Notations: `40,000`, `4e4`, `85.5%` (as 85.5), `10^-1`, `\frac{1}{2}`.

    >>> exact_number("$40,000"), exact_number("1.5e3"), exact_number("85.5%")
    (40000.0, 1500.0, 85.5)
    >>> exact_number("10^{-1}"), exact_number("14 dogs")
    (0.1, None)
    """
    if len(text) > _LONGEST:
        return None
    text = plain(text).rstrip(".").removesuffix("%").removesuffix("\\").strip()
    try:
        value = float(text.replace(",", "")) if "_" not in text else math.nan
    except ValueError:
        found = latex_value(text)
        value = float(found) if isinstance(found, int | float) else math.nan
    return value if math.isfinite(value) else None


def same_value(answer: str, gold: str) -> bool:
    r"""Return whether a short answer has the value of the gold one.

    The texts are the same but for dressing, or the same number, or equal mathematics. Units, degree
    signs and a left-hand side (`x =`) do not count. Numbers agree within 1e-6 relative, or if the
    answer is the gold number rounded to two or more decimals.

    >>> same_value("14 cm", "14"), same_value("11.18", r"5\sqrt{5}"), same_value("0.3", "1/3")
    (True, True, False)
    >>> same_value("x=6", "6")
    True
    """
    got, wanted = _essence(answer[-_LONGEST:]), _essence(gold)
    if not got or not wanted:
        return False
    if _squeezed(got) == _squeezed(wanted):
        return True
    value, target = exact_number(got), exact_number(wanted)
    if target is not None:
        return value is not None and _close(got, value, target)
    return (
        _worth_parsing(got)
        and _worth_parsing(wanted)
        and same_mathematics(f"${got}$", f"${wanted}$")
    )


def same_words(answer: str, gold: str) -> bool:
    """Return whether two answers are the same words.

    Case, spaces, quotes, brackets and a full stop at the end do not count.

    >>> same_words('"Blue."', "blue"), same_words("dark blue", "blue")
    (True, False)
    """
    return _squeezed(plain(answer).lower().strip(" .()[]{}")) == _squeezed(
        plain(gold).lower().strip(" .()[]{}")
    )


def _close(text: str, value: float, target: float) -> bool:
    if abs(value - target) <= (1e-6 * abs(target) or 1e-12):
        return True
    _, point, decimals = text.strip().partition(".")
    return (
        bool(point)
        and decimals.isdigit()
        and len(decimals) >= 2
        and round(target, len(decimals)) == value
    )


def _worth_parsing(text: str) -> bool:
    depth = max((text.count(opening) for opening in "({["), default=0)
    short = len(text) <= _LONGEST_MATHEMATICS and depth <= _DEEPEST_MATHEMATICS
    return short and _FORMULA.search(text) is not None and _WORD.search(text) is None


@kept
def _essence(text: str) -> str:
    text = _DEGREES.sub("", plain(text)).strip().rstrip(".").strip()
    text = _LEFT_SIDE.sub("", text)
    return _UNIT.sub("", text).strip() if text[:1].isdigit() or text[:1] in "-+\\." else text


def _squeezed(text: str) -> str:
    for word in ("\\left", "\\right", "\\,", "\\!", "\\;", "\\ "):
        text = text.replace(word, "")
    return "".join(text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").lower().split())
