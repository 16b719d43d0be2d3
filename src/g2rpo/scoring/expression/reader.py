"""Reading of a whole answer from its tokens: a list, a set, an equation, or one expression."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from g2rpo.scoring.expression.forms import (
    EVERYTHING,
    Dots,
    Form,
    Infinite,
    Named,
    Quantity,
    Region,
    Relation,
    Several,
)
from g2rpo.scoring.expression.intervals import between, comparison, region_of, united
from g2rpo.scoring.expression.node import evaluate
from g2rpo.scoring.expression.parser import parse
from g2rpo.scoring.expression.pieces import left_side_name, partner, quantity_of, split, unwrapped
from g2rpo.scoring.expression.tokens import Token
from g2rpo.scoring.expression.value import Unreadable, inexact

MOST_ITEMS = 100
_BRACKETS = ("(", "[", "{", r"\{", r"\langle")
_RELATIONS = ("=", "≈", "<", "<=", ">", ">=", "!=", r"\in")
_CLOCK = re.compile(r"\d{1,2}:[0-5]\d")


def read_form(tokens: Sequence[Token]) -> Form:
    """Return what the tokens are, read as a whole.

    Raises:
        Unreadable: they are nothing that can be compared.
    """
    tokens = unwrapped(tokens)
    parts, joints = split(tokens, (",", ";", "and", "or"))
    if len(parts) > MOST_ITEMS:
        raise Unreadable("too many items")
    if len(parts) == 1:
        return _signed(parts[0], _piece)
    forms = [_signed(part, _piece) for part in parts if part or _is_oxford(joints)]
    if isinstance(forms[0], Named) and not any(isinstance(form, Named) for form in forms[1:]):
        name, rest = forms[0].name, (forms[0].form, *forms[1:])
        return Named(name, _list(rest))
    if all(isinstance(form, Region) for form in forms):
        return united([form for form in forms if isinstance(form, Region)], "or" in joints)
    return _list(tuple(forms))


def _is_oxford(joints: list[str]) -> bool:
    """Return whether an empty part may stand between a comma and the next word: `1, 2, and 3`."""
    return not any(pair in (",", ";") for pair in joints) or joints[-1] not in ("and", "or")


def _list(forms: tuple[Form, ...]) -> Form:
    flat: list[Form] = []
    for form in forms:
        flat += form.items if isinstance(form, Several) and form.kind == "list" else (form,)
    return Several("list", tuple(flat))


def _signed(tokens: Sequence[Token], read: Callable[[Sequence[Token]], Form]) -> Form:
    r"""Return one form, or the list of two that `\pm` stands for."""
    if not any(token.text in (r"\pm", r"\mp") for token in tokens):
        return read(tokens)
    both = []
    for plus, minus in (("+", "-"), ("-", "+")):
        signs = {r"\pm": plus, r"\mp": minus}
        both.append(
            read([replace(token, text=signs.get(token.text, token.text)) for token in tokens])
        )
    if all(isinstance(form, Named) for form in both):
        return Named(both[0].name, _list(tuple(form.form for form in both)))  # type: ignore[union-attr]
    return _list(tuple(both))


def _piece(tokens: Sequence[Token]) -> Form:
    """Return one item of a list, or the whole answer."""
    tokens = unwrapped(tokens)
    if not tokens:
        raise Unreadable("an empty part")
    parts, bars = split(tokens, ("|",))
    if (
        len(bars) == 1 and len(parts[0]) == 1 and parts[0][0].kind == "symbol"
    ):  # x | x < 3, from between braces
        return _piece(parts[1])
    parts, signs = split(tokens, _RELATIONS)
    if not signs:
        return _side(tokens)
    if all(sign in ("=", "≈") for sign in signs):
        return _chain(parts, signs)
    if signs == [r"\in"]:
        form = _side(parts[1])
        return (
            Region(left_side_name(parts[0]) or "", form.stretches)
            if isinstance(form, Region)
            else Named(left_side_name(parts[0]) or "", form)
        )
    if len(parts) == 2:
        return comparison(_side(parts[0]), signs[0], _side(parts[1]))
    if len(parts) == 3 and all(sign[0] == signs[0][0] for sign in signs) and signs[0][0] in "<>":
        return between([_side(part) for part in parts], signs)
    raise Unreadable("a chain of relations")


def _chain(parts: list[list[Token]], signs: list[str]) -> Form:
    """Return the form of `name = value`, `name = formula = value`, `12 - 5 = 7`, or an equation."""
    name = left_side_name(parts[0])
    if name is None and len(parts) == 2 and left_side_name(parts[1]) is not None:
        parts, name = parts[::-1], left_side_name(parts[1])
    if len(parts) == 2 and name is None:
        left, right = _side(parts[0]), _side(parts[1])
        if (
            isinstance(left, Quantity)
            and isinstance(right, Quantity)
            and not (left.closed and right.closed)
        ):
            return Relation("=", ("+", (left.node, ("-", right.node))))
    if name is not None:
        rest = parts[1:]
        single = len(parts[0]) == 1 or parts[0][1].text in ("_", "(")
        if len(rest) == 1:
            form = _side(rest[0])
            if isinstance(form, Quantity) and not form.closed and not single:
                return Relation("=", ("+", (parse(parts[0]), ("-", form.node))))
            return Named(name, form)
        return Named(name, _one_value(rest, signs[1:]))
    return _one_value(parts, signs)


def _one_value(parts: list[list[Token]], signs: list[str]) -> Form:
    """The value that all sides of a chain share: the first one that is not rounded."""
    sides = [_side(part) for part in parts]
    quantities = [side for side in sides if isinstance(side, Quantity)]
    if len(quantities) < len(sides):
        raise Unreadable("a chain of lists")
    closed = [(k, side) for k, side in enumerate(quantities) if side.closed]
    if not closed or closed[-1][0] != len(sides) - 1:
        raise Unreadable("a chain that ends on a formula")
    last = closed[-1][1]
    for place, side in closed[:-1]:
        rough = "≈" in signs[place:] or last.decimal or side.decimal
        if not _alike(side, last, 0.02 if rough else 1e-9):
            raise Unreadable("a chain of different values")
    best = next((side for _, side in closed if not side.decimal), closed[0][1])
    return replace(best, unit=best.unit or last.unit, face=best.face or last.face)


def _alike(left: Quantity, right: Quantity, tolerance: float) -> bool:
    values = [inexact(evaluate(side.node, {})).value for side in (left, right)]
    return abs(values[0] - values[1]) <= tolerance * max(map(abs, values)) + 1e-12


def _side(tokens: Sequence[Token]) -> Form:
    """What stands on one side of a relation: brackets with several items, a union of intervals, a
    ratio, or an expression.
    """
    tokens = unwrapped(tokens)
    texts = [token.text for token in tokens]
    if not tokens:
        raise Unreadable("an empty side")
    if texts == [r"\ldots"]:
        return Dots()
    if texts == ["bbR"]:
        return EVERYTHING
    if texts[-1] == r"\infty" and (len(texts) == 1 or (len(texts) == 2 and texts[0] in "+-")):
        return Infinite(-1 if texts[0] == "-" else 1)
    if texts[0] == r"\beginmatrix" and partner(tokens, 0) == len(tokens) - 1:
        return _matrix(tokens)
    if texts == [r"\emptyset"] or texts == [r"\{", r"\}"]:
        return Several("set", ())
    parts, joints = split(tokens, (r"\cup",) if r"\cup" in texts else ("U",))
    if joints:
        return united([region_of(_side(part)) for part in parts], True)
    if texts[0] in _BRACKETS and partner(tokens, 0) == len(tokens) - 1:
        form = _bracketed(tokens)
        if form is not None:
            return form
    parts, joints = split(tokens, (":",))
    if joints:
        return _ratio(parts, "".join(texts))
    return quantity_of(tokens)


def _matrix(tokens: Sequence[Token]) -> Form:
    """The rows of a matrix; a column is a vector."""
    lines = [split(row, ("&",))[0] for row in split(tokens[1:-1], ("\\\\",))[0] if row]
    if sum(len(line) for line in lines) > MOST_ITEMS:
        raise Unreadable("too many items")
    rows = [tuple(_signed(cell, _piece) for cell in line) for line in lines]
    if all(len(row) == 1 for row in rows):
        return Several("()", tuple(row[0] for row in rows))
    return Several("()", tuple(Several("()", row) for row in rows))


def _ratio(parts: list[list[Token]], text: str) -> Form:
    items = tuple(quantity_of(part) for part in parts)
    if _CLOCK.fullmatch(text):
        return Several("clock", items)
    return Several("ratio", items)


def _bracketed(tokens: Sequence[Token]) -> Form | None:
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    opening = r"\{" if opening == "{" else opening
    if opening == r"\{":
        for bar in ("|", ":"):
            parts, joints = split(inside, (bar,))
            if len(joints) == 1:  # {x | x < 3}
                form = read_form(parts[1])
                if isinstance(form, Region | Named):
                    return form
    inside = _ungrouped(inside)
    parts, joints = split(inside, (",", ";"))
    if not joints:
        return Several("set", (_signed(inside, _piece),)) if opening == r"\{" and inside else None
    if len(parts) > MOST_ITEMS:
        raise Unreadable("too many items")
    items = _list(tuple(_signed(part, _piece) for part in parts))
    assert isinstance(items, Several)
    if opening == r"\{":
        return Several("set", items.items)
    kind = ("(" if opening == r"\langle" else opening) + (")" if closing == r"\rangle" else closing)
    return Several(kind, items.items)


def _ungrouped(tokens: Sequence[Token]) -> list[Token]:
    """In brackets, `1,234` is two numbers."""
    result: list[Token] = []
    for token in tokens:
        if token.kind == "number" and "," in token.text and len(tokens) == 1:
            for k, part in enumerate(token.text.split(",")):
                result += ([Token("sign", ",")] if k else []) + [
                    Token("number", part, Fraction(part))
                ]
        else:
            result.append(token)
    return result
