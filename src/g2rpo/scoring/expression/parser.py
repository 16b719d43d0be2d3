r"""Recursive-descent parser from tokens to an expression; it uses all tokens or raises.

LaTeX and plain text are one grammar: `\frac{1}{2}`, `1/2`, `\sqrt 3`, `sqrt(3)`, products without a
sign, mixed numbers, `\sin^2 x`.
"""

from collections.abc import Sequence
from fractions import Fraction

from g2rpo.scoring.expression.node import Node
from g2rpo.scoring.expression.tokens import Token, is_product
from g2rpo.scoring.expression.value import Unreadable

DEEPEST = 30
_CLOSING = {
    "(": ")",
    "{": "}",
    "[": "]",
    r"\{": r"\}",
    r"\lfloor": r"\rfloor",
    r"\lceil": r"\rceil",
}
_END = Token("end", "")
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_DEGREE: Node = ("/", ("constant", r"\pi"), ("number", Fraction(180)))


def parse(tokens: Sequence[Token]) -> Node:
    """Return the expression that all the tokens form.

    Raises:
        Unreadable: they are not one expression.
    """
    parser = _Parser(tokens)
    node = parser.sum()
    if parser.peek() is not _END:
        raise Unreadable(f"unexpected {parser.peek().text}")
    return node


def number(value: int | Fraction) -> Node:
    """Return a number as an expression."""
    return ("number", Fraction(value))


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = list(tokens)
        self.place = self.depth = self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else _END

    def sign(self, *texts: str) -> bool:
        token = self.peek()
        return token.kind == "sign" and token.text in texts

    def take(self) -> Token:
        token = self.peek()
        self.place += 1
        return token

    def expect(self, text: str) -> None:
        if not self.sign(text):
            raise Unreadable(f"expected {text}")
        self.place += 1

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deep")

    def sum(self) -> Node:
        self.deeper()
        terms = [self.product()]
        while self.sign("+", "-"):
            terms.append(("-", self.product()) if self.take().text == "-" else self.product())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("+", tuple(terms))

    def product(self) -> Node:
        value = self.signed()
        while True:
            if self.sign("*"):
                self.take()
                value = ("*", (value, self.signed()))
            elif self.sign("/"):
                self.take()
                value = ("/", value, self.signed())
            elif self.starts_factor():
                value = ("*", (value, self.factor()))
            else:
                return value

    def signed(self) -> Node:
        negative = False
        while self.sign("+", "-"):
            negative ^= self.take().text == "-"
        value = self.factor()
        return ("-", value) if negative else value

    def starts_factor(self) -> bool:
        token = self.peek()
        if token.kind == "number":
            return self.place > 0 and self.peek(-1).text in (")", "}", "!")  # `2 3` is no product
        if token.kind in ("symbol", "function"):
            return True
        if token.kind == "word":
            return is_product(token.text)
        if token.text == "|":
            return self.bars == 0
        return token.text in _CLOSING or token.text in (r"\frac", r"\sqrt", r"\binom", r"\pi", "√")

    def factor(self) -> Node:
        mixed = self.mixed_number()
        base = mixed or self.atom()
        while True:
            if self.sign("!"):
                self.take()
                base = ("call", "factorial", base)
            elif self.sign("°"):
                self.take()
                base = ("*", (base, _DEGREE))
            elif self.sign("%"):
                self.take()
                base = ("/", base, number(100))
            elif self.sign("^"):
                self.take()
                base = ("^", base, self.exponent())
            else:
                return base

    def exponent(self) -> Node:
        self.deeper()
        negative = False
        while self.sign("+", "-"):
            negative ^= self.take().text == "-"
        value = self.atom()
        if self.sign("^"):
            self.take()
            value = ("^", value, self.exponent())
        self.depth -= 1
        return ("-", value) if negative else value

    def mixed_number(self) -> Node | None:
        r"""Return the value of a mixed number, `1 1/2` or `1\frac{1}{2}`; None if there is none."""
        whole = self.peek()
        if whole.kind != "number" or whole.value.denominator != 1 or not whole.text.isdigit():
            return None
        following = [self.peek(k) for k in range(1, 8)]
        texts = [token.text for token in following]
        if following[0].kind == "number" and following[0].spaced and texts[1] == "/":
            places = (0, 2)
        elif texts[:2] == [r"\frac", "{"] and texts[3:5] == ["}", "{"] and texts[6] == "}":
            places = (2, 5)
        elif texts[0] == r"\frac" and len(texts[1]) == 2 and texts[1].isdigit():
            top, bottom = (int(digit) for digit in texts[1])
            if not top < bottom:
                return None
            self.place += 3
            return number(whole.value + Fraction(top, bottom))
        else:
            return None
        over, under = (following[place] for place in places)
        if not (over.text.isdigit() and under.text.isdigit() and 0 < over.value < under.value):
            return None
        self.place += 4 if places == (0, 2) else 8
        return number(whole.value + over.value / under.value)

    def atom(self) -> Node:
        token = self.take()
        if token.kind == "number":
            if self.sign("_"):
                raise Unreadable("a number with an index")
            return ("number", token.value)
        if token.kind == "symbol":
            return self.symbol(token.text)
        if token.kind == "function":
            return self.function(token.text)
        if token.kind == "word" and is_product(token.text):
            return ("*", tuple(("symbol", letter) for letter in token.text))
        if token.kind == "sign":
            return self.sign_atom(token.text)
        raise Unreadable(f"unexpected {token.text}")

    def sign_atom(self, text: str) -> Node:
        if text in _CLOSING:
            inner = self.sum()
            self.expect(_CLOSING[text])
            name = {r"\lfloor": "floor", r"\lceil": "ceil"}.get(text)
            return ("call", name, inner) if name else inner
        if text == "|":
            self.bars += 1
            inner = self.sum()
            self.expect("|")
            self.bars -= 1
            return ("call", "abs", inner)
        if text == r"\pi":
            return ("constant", text)
        if text == r"\frac":
            return ("/", self.argument(), self.argument())
        if text == r"\binom":
            return ("call", "binomial", self.argument(), self.argument())
        if text == r"\sqrt":
            return self.root()
        raise Unreadable(f"unexpected {text}")

    def symbol(self, name: str) -> Node:
        if self.sign("_"):
            self.take()
            name += "_" + self.index()
        while self.sign("'"):
            name += self.take().text
        return ("constant", name) if name in ("e", "i") else ("symbol", name)

    def index(self) -> str:
        if not self.sign("{"):
            return self.take().text
        self.take()
        parts = []
        while not self.sign("}"):
            if self.peek() is _END:
                raise Unreadable("an open index")
            parts.append(self.take().text)
        self.take()
        return "".join(parts)

    def argument(self) -> Node:
        r"""Return an argument of `\frac`: a group, or one digit or sign (`\frac12`)."""
        token = self.peek()
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            self.tokens[self.place] = Token("number", token.text[1:], Fraction(int(token.text[1:])))
            return number(int(token.text[0]))
        self.deeper()
        value = self.atom()
        self.depth -= 1
        return value

    def root(self) -> Node:
        degree = number(2)
        if self.sign("["):
            self.take()
            degree = self.sum()
            self.expect("]")
        self.deeper()
        radicand = self.atom()
        self.depth -= 1
        return (
            ("^", radicand, ("/", number(1), number(2)))
            if degree == number(2)
            else ("call", "root", radicand, degree)
        )

    def function(self, name: str) -> Node:
        power, base = None, None
        while self.sign("^", "_"):
            if self.take().text == "^":
                power = self.exponent()
            else:
                base = self.argument()
        argument = self.function_argument(name)
        if power == ("-", number(1)) and name in _INVERSE:
            name, power = _INVERSE[name], None
        node = _called(name, argument, base)
        return node if power is None else ("^", node, power)

    def function_argument(self, name: str) -> Node:
        self.deeper()
        if self.sign(*_CLOSING, "|") or name in ("sqrt", "cbrt", "abs"):
            value = self.atom()
        else:
            value = self.factor()
            while (
                self.starts_factor() and self.peek().kind != "function" and not self.sign("(", "[")
            ):
                value = ("*", (value, self.factor()))
        self.depth -= 1
        return value


def _called(name: str, argument: Node, base: Node | None) -> Node:
    if name in ("log", "lg"):
        base = number(10) if base is None and name == "lg" else base
        return ("call", "ln", argument) if base is None else ("call", "log", argument, base)
    if base is not None:
        raise Unreadable(f"{name} with an index")
    if name == "sqrt":
        return ("^", argument, ("/", number(1), number(2)))
    return ("call", "root", argument, number(3)) if name == "cbrt" else ("call", name, argument)
