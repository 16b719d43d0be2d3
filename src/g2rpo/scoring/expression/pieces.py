"""Tokens cut at signs outside of brackets, left-hand sides, and one expression with its unit."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from g2rpo.scoring.expression.forms import Quantity
from g2rpo.scoring.expression.node import Node, evaluate, functions, symbols
from g2rpo.scoring.expression.parser import parse
from g2rpo.scoring.expression.tokens import Token, is_product
from g2rpo.scoring.expression.units import split_unit
from g2rpo.scoring.expression.value import inexact

OPENING = frozenset(("(", "[", "{", r"\{", r"\langle", r"\beginmatrix"))
CLOSING = frozenset((")", "]", "}", r"\}", r"\rangle", r"\endmatrix"))


def split(tokens: Sequence[Token], signs: Sequence[str]) -> tuple[list[list[Token]], list[str]]:
    """Return the parts between signs that stand outside of brackets, and those signs.

    `, and` is one sign.
    """
    parts: list[list[Token]] = [[]]
    joints: list[str] = []
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            depth += token.text in OPENING
            depth -= token.text in CLOSING
            if depth == 0 and token.text in signs:
                if (
                    token.text in ("and", "or")
                    and joints
                    and joints[-1] in (",", ";")
                    and not parts[-1]
                ):
                    joints[-1] = token.text
                    continue
                joints.append(token.text)
                parts.append([])
                continue
        parts[-1].append(token)
    return parts, joints


def unwrapped(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return the tokens without meaningless signs at the edges.

    These are a full stop, a comma, braces around all, and a leading `=`.
    """
    start, end = 0, len(tokens)
    while start < end and tokens[start].text in (":", ",", ".", ";", "=", "≈"):
        start += 1
    while start < end and tokens[end - 1].text in (":", ",", ".", ";", "=", "?", "≈"):
        end -= 1
    tokens = tokens[start:end]
    if (
        len(tokens) > 2
        and tokens[0].text == "{"
        and partner(tokens, 0) == len(tokens) - 1
        and not split(tokens[1:-1], (",",))[1]
    ):
        return unwrapped(tokens[1:-1])
    return tokens


def partner(tokens: Sequence[Token], start: int) -> int:
    """Return where the bracket at `start` closes, by any kind of bracket; -1 if it never does."""
    depth = 0
    for place in range(start, len(tokens)):
        if tokens[place].kind == "sign":
            depth += tokens[place].text in OPENING
            depth -= tokens[place].text in CLOSING
            if depth == 0:
                return place
    return -1


def left_side_name(tokens: Sequence[Token]) -> str | None:
    """Return the name on a left-hand side, such as `x`, `x_1`, `f(x)`, `AB`; None for a formula."""
    tokens = unwrapped(tokens)
    if not tokens:
        return None
    if (
        tokens[0].text == "("
        and tokens[-1].text == ")"
        and all(t.kind == "symbol" or t.text == "," for t in tokens[1:-1])
    ):
        return "".join(token.text for token in tokens) if len(tokens) > 4 else None
    texts = [token.text for token in tokens]
    if tokens[0].kind == "function":
        plain = all(
            token.kind in ("symbol", "word") or token.text in "(){}" for token in tokens[1:]
        )
        return " ".join(texts) if plain and len(tokens) > 1 else None
    if texts[0] == "m" and len(texts) == 2:  # the measure of an angle
        tokens, texts = tokens[1:], texts[1:]
    if tokens[0].kind not in ("symbol", "word"):
        return None
    if len(tokens) == 1:
        return (
            None
            if tokens[0].kind == "word" and is_product(texts[0]) and not texts[0].isupper()
            else texts[0]
        )
    if texts[1] == "_" or (
        texts[1] == "("
        and texts[-1] == ")"
        and all(t.kind in ("symbol", "word") or t.text == "," for t in tokens[2:-1])
    ):
        inner = texts[2:] if texts[1] == "_" else []
        flat = "".join(text for text in inner if text not in "{}")
        return "".join(texts) if flat.isalnum() or texts[1] == "(" else None
    if texts[1:] == ["'"]:
        return "".join(texts)
    return None


def quantity_of(tokens: Sequence[Token]) -> Quantity:
    """Return one expression, with its unit, percent sign or degree sign."""
    bare, unit = split_unit(tokens)
    if len(bare) > 1 and bare[-1].text in ("%", "°"):
        return replace(quantity_of(bare[:-1]), face=bare[-1].text, unit=unit)
    rough = len(bare) > 1 and bare[-1].text == r"\ldots" and bare[-2].decimals is not None
    node = parse(bare[:-1] if rough else bare)
    if unit is not None and symbols(node):
        node, unit = parse(tokens), None
    half_width, decimal = _precision(bare[:-1] if rough else bare, node)
    return Quantity(node, unit, 2 * half_width if rough and half_width else half_width, "", decimal)


def _precision(tokens: Sequence[Token], node: Node) -> tuple[Fraction | None, bool]:
    """Return half of the last place of a decimal such as `-3.70` or `1.602 * 10^-19`.

    None with fewer than two decimals or two significant digits. The flag says whether it is a
    decimal.
    """
    literals = [token for token in tokens if token.kind == "number" and token.decimals is not None]
    if len(literals) != 1 or symbols(node) or functions(node):
        return None, False
    literal = literals[0]
    texts = [token.text for token in tokens if token.text not in ("+", "-", "*", "^", "{", "}")]
    if texts not in ([literal.text], [literal.text, "10", texts[-1]]) or literal.decimals is None:
        return None, False
    written = literal.text.lower().split("e")[0].partition(".")
    digits = len((written[0] + written[2]).lstrip("0"))
    if len(written[2]) < 2 or digits < 2:
        return None, True
    scale = abs(evaluate(node, {})) / abs(literal.value) if literal.value else Fraction(1)  # type: ignore[arg-type]
    return Fraction(10) ** -literal.decimals / 2 * scale, True


def as_float(quantity: Quantity) -> float | None:
    """Return the real value of a closed quantity; None if it is complex."""
    value = inexact(evaluate(quantity.node, {}))
    return value.value.real if abs(value.value.imag) <= 8 * value.error else None
