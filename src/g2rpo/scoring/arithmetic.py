r"""Values of plain and LaTeX arithmetic, by a parser of our own, without `eval`.

Numbers, + - * / // % and powers; in LaTeX \frac, \sqrt, \pi, \cdot, \times, \div and products
without a sign. A result of more than 300 digits, brackets nested more than 20 deep and everything
else have no value.
"""

import math
import re
from collections.abc import Callable

from g2rpo.scoring.kept import kept

Number = int | float | complex
LONGEST = 300
"""Characters. What is longer is no number."""
_DEEPEST, _MOST_DIGITS = 20, 300
_PYTHON_TOKEN = re.compile(
    r"\s*(?:((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?![\w.])|(\*\*|//|[-+*/%^()]))", re.IGNORECASE
)
_LATEX_TOKEN = re.compile(
    r"\s*(?:(\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*|\.\d+)|(\\[A-Za-z]+|\\["
    r" ,;!:]|[-+*/^(){}\[\]]|π|√|÷|×))"
)
_SAME = {
    "π": r"\pi",
    "√": r"\sqrt",
    "÷": r"\div",
    "×": r"\times",
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
}
_SILENT = {r"\left", r"\right", r"\boxed", r"\ ", r"\,", r"\;", r"\!", r"\:"}
_CLOSING = {"(": ")", "{": "}", "[": "]"}
_TIMES, _OVER = {"*", r"\times", r"\cdot"}, {"/", r"\div"}


class _NoValue(Exception):
    """The text is not arithmetic, or its value is out of bounds."""


@kept
def python_value(text: str) -> Number | None:
    """Return the value that Python gives to arithmetic on numbers; None for anything else.

    As in Python, `^` is exclusive or.

    >>> python_value("55/2"), python_value("45^2"), python_value("2**-1"), python_value("9**9**9")
    (27.5, 47, 0.5, None)
    >>> python_value("len")
    """
    return _value(text, _PYTHON_TOKEN, lambda tokens: _Python(tokens))


@kept
def latex_value(text: str) -> Number | None:
    r"""Return the value of arithmetic in LaTeX or plain text; None for anything else.

    >>> latex_value(r"\frac{1}{4}"), latex_value(r"$2^{3}$"), latex_value(r"1\frac{1}{2}")
    (0.25, 8, 1.5)
    >>> latex_value("x")
    >>> round(latex_value(r"5\sqrt{5}"), 3)
    11.18
    """
    return _value(text.replace("$", ""), _LATEX_TOKEN, lambda tokens: _Latex(tokens))


def _value(
    text: str, pattern: re.Pattern[str], parser: "Callable[[list[str]], _Parser]"
) -> Number | None:
    text = text.strip()
    if not text or len(text) > LONGEST:
        return None
    tokens, place = [], 0
    while place < len(text):
        match = pattern.match(text, place)
        if match is None:
            return None
        tokens.append(match[1] or match[2])
        place = match.end()
    try:
        return parser(tokens).whole()
    except (_NoValue, ArithmeticError, TypeError, ValueError, IndexError):
        return None


class _Parser:
    """Sums, products and brackets over a list of tokens, shared by both notations."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def whole(self) -> Number:
        value = self.lowest()
        if self.place < len(self.tokens):
            raise _NoValue
        return value

    def lowest(self) -> Number:
        return self.sum()

    def sum(self) -> Number:
        value = self.product()
        while self.peek() in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> Number:
        raise NotImplementedError

    def bracket(self, opening: str) -> Number:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _NoValue
        value = self.lowest()
        if self.take() != _CLOSING[opening]:
            raise _NoValue
        self.depth -= 1
        return value

    def power(self, base: Number, exponent: Number) -> Number:
        if isinstance(exponent, complex) or isinstance(base, complex):
            raise _NoValue
        if abs(exponent) * math.log10(max(abs(base), 2)) > _MOST_DIGITS:
            raise _NoValue
        return base**exponent


class _Python(_Parser):
    def lowest(self) -> Number:
        value = self.sum()
        while self.peek() == "^":
            self.take()
            value = value ^ self.sum()  # type: ignore[operator]  # TypeError for floats, as in Python
        return value

    def product(self) -> Number:
        value = self.signed()
        while self.peek() in ("*", "/", "//", "%"):
            operator, right = self.take(), self.signed()
            value = {"*": _times, "/": _over, "//": _floor, "%": _rest}[operator](value, right)
        return value

    def signed(self) -> Number:
        signs = 0
        while self.peek() in ("+", "-"):
            signs += self.take() == "-"
        value = self.atom()
        if self.peek() == "**":
            self.take()
            self.depth += 1
            if self.depth > _DEEPEST:
                raise _NoValue
            value = self.power(value, self.signed())
            self.depth -= 1
        return -value if signs % 2 else value

    def atom(self) -> Number:
        sign = self.take()
        return self.bracket(sign) if sign == "(" else _number(sign)


class _Latex(_Parser):
    def __init__(self, tokens: list[str]) -> None:
        super().__init__(
            [plain for sign in tokens if (plain := _SAME.get(sign, sign)) not in _SILENT]
        )

    def product(self) -> Number:
        value = self.signed()
        while sign := self.peek():
            if sign in _TIMES:
                self.take()
                value = value * self.signed()
            elif sign in _OVER:
                self.take()
                value = value / self.signed()
            elif sign in ("+", "-", ")", "]", "}"):
                break
            elif sign == r"\frac" and self.tokens[self.place - 1].isdigit():  # a mixed number
                value = value + math.copysign(1, _real(value)) * _real(self.factor())
            else:
                value = value * self.factor()
        return value

    def signed(self) -> Number:
        signs = 0
        while self.peek() in ("+", "-"):
            signs += self.take() == "-"
        value = self.factor()
        return -value if signs % 2 else value

    def factor(self) -> Number:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        negative = self.peek() == "-" and bool(self.take())
        exponent = self.atom()
        return self.power(base, -exponent if negative else exponent)

    def atom(self) -> Number:
        sign = self.take()
        if sign in _CLOSING:
            return self.bracket(sign)
        if sign == r"\frac":
            return self.argument() / self.argument()
        if sign == r"\sqrt":
            degree = self.bracket(self.take()) if self.peek() == "[" else 2
            return self.power(self.argument(), 1 / degree)
        if sign == r"\pi":
            return math.pi
        return _number(sign)

    def argument(self) -> Number:
        r"""Return the value in braces, or of the next digit: `\frac12` is one half."""
        sign = self.peek()
        if sign.isdigit() and len(sign) > 1:
            self.tokens[self.place] = sign[1:]
            return int(sign[0])
        return self.atom()


def _number(sign: str) -> Number:
    sign = sign.replace(",", "")
    if sign.isdigit():
        if len(sign) > _MOST_DIGITS:
            raise _NoValue
        return int(sign)
    return float(sign)


def _real(value: Number) -> float:
    if isinstance(value, complex):
        raise _NoValue
    return float(value)


def _times(left: Number, right: Number) -> Number:
    return left * right


def _over(left: Number, right: Number) -> Number:
    return left / right


def _floor(left: Number, right: Number) -> Number:
    return _real(left) // _real(right)


def _rest(left: Number, right: Number) -> Number:
    return _real(left) % _real(right)
