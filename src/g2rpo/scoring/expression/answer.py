"""Comparison of an answer with the gold answer, and its reading as one number.

An answer is compared with the gold one only if every sign of it has been read: LaTeX, plain text or
both, with words and a unit around one expression. `2x+7` is never read as its first number.
Expressions are equal if their values are, exactly where arithmetic is exact. Nothing here evaluates
a power, a factorial or a list without a bound, so that hostile texts cost milliseconds.
"""

import math
import re

from g2rpo.scoring.expression.compare import same
from g2rpo.scoring.expression.forms import Form, Named, Quantity, Several
from g2rpo.scoring.expression.pieces import as_float
from g2rpo.scoring.expression.span import LONGEST, spans
from g2rpo.scoring.expression.tokens import canonical, tokens
from g2rpo.scoring.expression.value import Unreadable
from g2rpo.scoring.expression.words import read_text
from g2rpo.scoring.kept import kept

_SILENT = re.compile(
    r"\\left(?![a-z])|\\right(?![a-z])|(?<!\\)\\[,;:!"
    r" ]|[$`]++|(?<![\w.,])\s++|\s++(?![\w.,])|\\\(|\\\)|\\displaystyle"
)
_EMPHASIS = re.compile(r"(?<![\w)}\]])\*\*|\*\*(?![\w({\[\\])|^[ \t]*+#++(?=\s)", re.MULTILINE)
_WHOLE_EMPHASIS = re.compile(r"([*_'])([^*_']++)\1")
_ABBREVIATION = re.compile(r"\b(sq|cu|approx|ca|in|ft|deg|No)\.(?=\s|$)")
_PLAIN = re.compile(r"[-+]?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]{1,300})(?:\.[0-9]{1,300})?")
"""Numbers that need no parser."""
_CONCLUDES = "so it is "
_BEFORE = re.compile(r"(?:[A-Za-z0-9 .,=+*/-]*[.,] +)?")
_CUE = re.compile(r"\b(?:answer|solution|result|because|since|that|which|i\.e)\b", re.IGNORECASE)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_LONGEST_PLAIN = 400
_SMALL = 0.1
_SMALL_TOLERANCE = 0.005


def same_expression(answer: str, gold: str) -> bool:
    r"""Return whether an answer equals the gold answer, whatever their notations.

    Both may be an expression, list, set, interval, equation or inequality. A decimal number may be
    the other one rounded to two or more decimals (`37.70` for `12\pi`); a unit may be missing on
    one side.

    >>> same_expression("sqrt(5)/2", r"\frac{\sqrt{5}}{2}"), same_expression("2x+7", "2x+1")
    (True, False)
    >>> same_expression("5 cm", "5")
    True
    """
    if _same_text(answer, gold):
        return True
    got, wanted = _read(answer), _read(gold)
    if got is None or wanted is None:
        return False
    try:
        return same(got, wanted)
    except (Unreadable, RecursionError):  # no value, or hundreds of nested operations
        return False


def readable_expression(text: str) -> bool:
    r"""Return whether a text is read as a whole, so that other notations of it are recognized.

    >>> readable_expression(r"2 \sqrt { 221 }"), readable_expression("between 2 and 80")
    (True, False)
    >>> readable_expression("5 of 6 or 7/")
    False
    """
    return _read(text) is not None


def read_quantity(text: str) -> float | None:
    r"""Return the text as one finite real number; None for anything else.

    A unit or words may surround the number. A comma is accepted only between thousands. A
    percentage is the number before the sign.

    >>> read_quantity("1/2"), read_quantity("three"), read_quantity("[3]")
    (0.5, 3.0, 3.0)
    >>> read_quantity("1,234 km"), read_quantity("3,5")
    (1234.0, None)
    """
    plain = _plain(text)
    if plain is not None:
        return float(plain.replace(",", ""))
    quantity = _quantity(_read(text))
    if quantity is None:
        return None
    try:
        value = as_float(quantity)
    except (Unreadable, OverflowError):
        return None
    return value if value is not None and math.isfinite(value) else None


def same_number(answer: str, gold: str) -> bool:
    """Return whether an answer is the gold number, to two decimals.

    Gold numbers below 0.1 must be met within 0.5 %.

    >>> same_number("3.004", "3"), same_number("three", "3"), same_number("0.004", "0.001")
    (True, True, False)
    >>> same_number("1,2,3", "123")
    False
    """
    got, wanted = read_quantity(answer), read_quantity(gold)
    if got is None or wanted is None:
        return False
    if _near(got, wanted):
        return True
    both_plain = _plain(answer) is not None and _PLAIN.fullmatch(gold)
    return not both_plain and same_expression(answer, gold)


def _plain(text: str) -> str | None:
    """Return the number that a text is, or with which it ends; None if that takes the parser.

    >>> _plain("-5"), _plain("2 red squares, 1 blue. so it is 3"), _plain("2 + 1")
    ('-5', '3', None)
    """
    if _PLAIN.fullmatch(text):
        return text
    if len(text) > _LONGEST_PLAIN:
        return None
    before, concludes, number = text.rpartition(_CONCLUDES)
    if not concludes or not _WHOLE.fullmatch(number) or not _BEFORE.fullmatch(before):
        return None
    return None if _CUE.search(before) else number


def _near(got: float, wanted: float) -> bool:
    if abs(wanted) < _SMALL:
        return abs(got - wanted) <= _SMALL_TOLERANCE * abs(wanted)
    return round(got, 2) == round(wanted, 2)


def _quantity(form: Form | None) -> Quantity | None:
    """Return the one closed expression that a form consists of; else None."""
    if isinstance(form, Named):
        return _quantity(form.form)
    if isinstance(form, Several) and len(form.items) == 1:
        return _quantity(form.items[0])
    return form if isinstance(form, Quantity) and form.closed else None


@kept
def _read(text: str) -> Form | None:
    """Return what the first readable span of a text says; None if none is readable."""
    for span in spans(text):
        if len(span) > LONGEST:
            continue
        found = tokens(_dressed_down(span))
        if not found:
            continue
        try:
            return read_text(found)
        except (Unreadable, RecursionError, OverflowError):
            continue
    return None


def _dressed_down(span: str) -> str:
    """Return a span in plain signs, without emphasis, quotes, and the dots of abbreviations."""
    text = _EMPHASIS.sub("", canonical(span)).strip()
    whole = _WHOLE_EMPHASIS.fullmatch(text)
    return _ABBREVIATION.sub(r"\1", whole[2] if whole else text).rstrip("\\ ")


def _same_text(answer: str, gold: str) -> bool:
    wanted = _squeezed(gold)
    return bool(wanted) and _squeezed(answer) == wanted


@kept
def _squeezed(text: str) -> str:
    """Return the last span without white space and signs that have no meaning."""
    found = spans(text)
    span = found[-1] if found else text
    short = (
        _SILENT.sub("", _dressed_down(span))
        .replace("\\dfrac", "\\frac")
        .replace("\\tfrac", "\\frac")
        .rstrip(".")
    )
    return short or span.strip(" $.")
