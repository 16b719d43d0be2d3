r"""Tokens of an expression in LaTeX, plain text or both.

Every character is part of a token, or there are no tokens.

Dollar signs, `\left` and spaces of LaTeX say nothing and are dropped. Letters become symbols, names
of functions, units or words.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction

from g2rpo.scoring.expression.number_words import with_digits
from g2rpo.scoring.expression.signs import (
    COMMANDS,
    FUNCTIONS,
    GREEK,
    NAMES,
    SIGNS,
    SILENT,
    word_set,
)

MOST_DIGITS, MOST_TOKENS = 400, 1000
"""Longest number literal (also the largest power of ten) and longest expression that are read."""
_BAR = "\u2223"
_TRANSLATION = str.maketrans(dict(SIGNS))
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RANGE = re.compile(r"(?<=\d)(\s*+)–(?=\s*+\d)")
_FONT = re.compile(r"\{\s*+\\(?:rm|bf|it)\s++([^{}]*+)\}")
_ANGLE = re.compile(r"(?:∠|\\(?:measured)?angle(?![A-Za-z]))\s*+(\d++)")
_SYSTEM = re.compile(r"\\(?:begin|end)\s*+\{(?:cases|aligned|align\*?|array|gathered)\}|&")
_MATRIX = re.compile(r"\\(begin|end)\s*+\{[A-Za-z]*?matrix\*?\}")
_BLACKBOARD = re.compile(r"\\mathbb\s*+(?:\{\s*+([A-Z])\s*+\}|([A-Z]))")
_DEGREES = re.compile(r"\^\s*+(?:\{\s*+\\circ\s*+\}|\\circ(?![A-Za-z]))")
_RAISED_RUN, _LOWERED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]++"), re.compile("[₀₁₂₃₄₅₆₇₈₉]++")
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathit|mbox|hbox|operatorname\*?|rm)\s*+\{((?:[^{}]++|\{[^{}]*+\})*+)\}"
)
_POWER_OF_TEN = re.compile(r"(?<=\d)\s*+[xX]\s*+(?=10\s*+\^)|(?<=\d)\s++[xX]\s++(?=\d)")
_TOKEN = re.compile(
    r"""(?P<space>[\s~$\u0001`"]++)
    |(?P<repeat>\d*\.\d*\\overline\s*+\{\s*+\d++\s*+\})
    |(?P<number>(?:[1-9]\d{0,2}(?:,\d{3})++(?![\d,])|[1-9]\d{0,2}(?:\{,\}\d{3})++(?!\d)|[1-9]\d{0,2}(?:\\,\d{3})++(?!\d)
        |[1-9]\d{0,2}(?:\ \d{3})++(?![\d/,]|\s*+\d|\s*+/)|\d++)(?:\.\d++|\.(?![\d.]))?
            (?:[eE][-+]?\d++(?![A-Za-z\d.]))?
        |\.\d++(?:[eE][-+]?\d++(?![A-Za-z\d.]))?)
    |(?P<text>\u0002[^\u0002]*+\u0002)
    |(?P<command>\\(?:[A-Za-z]++|.))
    |(?P<letters>[^\W\d_]++)
    |(?P<sign>\*\*|<=|>=|!=|==|\.\.\.|[-+*/^_(){}\[\]|,;:=<>!%'&≈°.?–])""",
    re.VERBOSE | re.DOTALL,
)
_SHORT_WORDS = word_set(
    "is it of to in on at by an as be or so no if we us my he do go up am me hi ok"
)
_VOWELS = frozenset("aeiouyAEIOUY")


@dataclass(frozen=True, slots=True)
class Token:
    """One sign of an expression.

    Attributes:
        kind: `number`, `symbol`, `function`, `word` or `sign` (operators, brackets and commands of
            LaTeX).
        text: what it says, in one spelling: `<=` for each way to write it.
        value: of a number.
        spaced: whether white space precedes it.
        decimals: digits after the point of a decimal literal; None for integers.
    """

    kind: str
    text: str
    value: Fraction = Fraction(0)
    spaced: bool = False
    decimals: int | None = None


def canonical(text: str) -> str:
    """The text with typographic signs, full-width digits and raised digits in their plain
    spelling.
    """
    text = _ANGLE.sub(r"\\theta_{\1}", text)
    text = _RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(_RAISED)}}}", text)
    text = _LOWERED_RUN.sub(lambda run: f"_{{{run[0].translate(_LOWERED)}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_TRANSLATION)).translate(_TRANSLATION)
    text = text.replace("&lt;", "<").replace("&gt;", ">")
    ranges = _RANGE.sub("\\1\3", _DEGREES.sub("°", text))  # a dash between numbers is no minus sign
    return ranges.replace("–", "-").replace("\3", "–")


def tokens(text: str) -> list[Token] | None:
    r"""The tokens of a canonical text; None if a character belongs to none, or if there are more
    than MOST_TOKENS.

    >>> [token.text for token in tokens(r"2\dfrac{x}{3} \leq 1,000")]
    ['2', '\\frac', '{', 'x', '}', '{', '3', '}', '<=', '1000']
    """
    if r"\begin" in text and _SYSTEM.match(text):  # one equation a line
        text = _SYSTEM.sub("", text).strip().removesuffix("\\\\").replace("\\\\", ",")
    text = _BLACKBOARD.sub(r"\\bb\1\2 ", _MATRIX.sub(r"\\\1matrix ", text))
    text = _FONT.sub(r"\\text{\1}", text)
    for _ in range(3):  # \text{... \mathrm{cm}}
        text, found = _WRAPPED.subn(
            lambda match: f"\2{match[1]}\2" if _has_letters(match[1]) else match[1], text
        )
        if not found:
            break
    text = _POWER_OF_TEN.sub("*", with_digits(text))
    result: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or len(result) > MOST_TOKENS:
            return None
        place, kind = match.end(), match.lastgroup or ""
        if kind == "space":
            spaced = True
            continue
        new = _tokens_of(kind, match[0], spaced)
        if new is None:
            return None
        if new and new[0].text in ("I", "j") and _is_imaginary(new[0], result):
            new = [replace(new[0], text="i")]
        result += new
        spaced = spaced and not new
    return result


def _is_imaginary(token: Token, before: list[Token]) -> bool:
    """Whether `I` is written as sympy does, `2*I`, or `j` as Python does, `2j`."""
    if not before:
        return False
    return (before[-1].kind == "number" and not token.spaced) or (
        token.text == "I" and before[-1].text == "*"
    )


def _has_letters(text: str) -> bool:
    return any(letter.isalpha() for letter in text)


def _tokens_of(kind: str, text: str, spaced: bool) -> list[Token] | None:
    if kind == "number":
        return _number(text, spaced)
    if kind == "repeat":
        return _repeating(text, spaced)
    if kind == "text":
        return _wrapped(text[1:-1])
    if kind == "letters":
        return _letters(text, spaced)
    if kind == "command":
        return _command(text, spaced)
    return [Token("sign", {"==": "=", "**": "^", "...": r"\ldots"}.get(text, text), spaced=spaced)]


def _number(text: str, spaced: bool) -> list[Token] | None:
    for grouping in ("{,}", r"\,", ",", " "):
        text = text.replace(grouping, "")
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > MOST_DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > MOST_DIGITS:
        return None
    whole, point, decimals = mantissa.partition(".")
    value = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals)) * Fraction(10) ** int(
        exponent or 0
    )
    shown = text if point and decimals else text.replace(".", "")
    return [
        Token(
            "number", shown, value, spaced, len(decimals) - int(exponent or 0) if decimals else None
        )
    ]


def _repeating(text: str, spaced: bool) -> list[Token] | None:
    fixed, _, repeated = text.rstrip("} \t\n").partition("\\overline")
    repeated = repeated.strip("{ \t\n")
    whole, _, decimals = fixed.partition(".")
    if len(text) > MOST_DIGITS:
        return None
    value = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))
    value += Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(decimals))
    return [Token("number", text, value, spaced)]


def _wrapped(content: str) -> list[Token] | None:
    r"""What `\text{...}` holds: a unit, words, or a short expression."""
    inner = tokens(content.strip())
    if inner is None:
        return None
    return [
        Token(t.kind, t.text, t.value, True, t.decimals) if k == 0 else t
        for k, t in enumerate(inner)
    ]


def _letters(text: str, spaced: bool) -> list[Token]:
    plain = NAMES.get(text.lower() if len(text) > 1 else text)
    if plain:
        return [Token("sign", plain, spaced=spaced)]
    if text in FUNCTIONS:
        return [Token("function", text, spaced=spaced)]
    if text in GREEK:
        return [Token("symbol", text, spaced=spaced)]
    if len(text) == 1 and text.isascii():
        return [Token("symbol", text, spaced=spaced)]
    return [Token("word", text, spaced=spaced)]


def is_product(word: str) -> bool:
    """Whether a run of letters may be a product of symbols or the name of a figure: `xy`, `ABC`.

    >>> is_product("xy"), is_product("ABC"), is_product("cats"), is_product("is")
    (True, True, False, False)
    """
    if not word.isascii() or len(word) > 4 or word.lower() in _SHORT_WORDS:
        return False
    return (
        word.isupper()
        or len(word) == 2
        or word in ("abc", "xyz", "abcd")
        or not _VOWELS & set(word)
    )


def _command(text: str, spaced: bool) -> list[Token]:
    name = text[1:]
    if text in SILENT:
        return []
    text = COMMANDS.get(text, text).replace(_BAR, "|")
    if name in FUNCTIONS and name != "sqrt":
        return [Token("function", name, spaced=spaced)]
    letter = name in GREEK or name.startswith("bb")
    return [Token("symbol" if letter else "sign", name if letter else text, spaced=spaced)]
