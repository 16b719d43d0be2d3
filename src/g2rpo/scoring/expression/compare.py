"""Comparison of two answers that were read as a whole."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from zlib import crc32

from g2rpo.scoring.expression.forms import (
    Form,
    Infinite,
    Named,
    Quantity,
    Region,
    Relation,
    Several,
    Stretch,
    Words,
)
from g2rpo.scoring.expression.intervals import region_of
from g2rpo.scoring.expression.node import Node, evaluate, functions, symbols
from g2rpo.scoring.expression.value import Unreadable, Value, equal, inexact

_POINTS = 3
_CLOSE = 1e-6
"""Relative difference at which a decimal literal still has the value of the gold one."""
_FILLERS = frozenset(("it", "is", "=", "on", "in", "at", "the", "a", "an", "answer"))
_DEGREE: Node = ("/", ("constant", r"\pi"), ("number", Fraction(180)))


def same(answer: Form, gold: Form) -> bool:
    """Return whether the answer says what the gold answer says.

    Raises:
        Unreadable: a value is out of bounds.
    """
    if isinstance(answer, Named) and isinstance(gold, Named):
        clash = answer.name != gold.name and len(answer.name) == len(gold.name) == 1
        return (not clash and same(answer.form, gold.form)) or _same_relation(answer, gold)
    if isinstance(answer, Named):
        return same(answer.form, gold) or _same_relation(answer, gold) or _same_region(answer, gold)
    if isinstance(gold, Named):
        return same(answer, gold.form) or _same_relation(answer, gold) or _same_region(answer, gold)
    if isinstance(answer, Quantity) and isinstance(gold, Quantity):
        return _same_quantity(answer, gold)
    if isinstance(answer, Relation) or isinstance(gold, Relation):
        return _same_relation(answer, gold)
    if isinstance(answer, Region) or isinstance(gold, Region):
        return _same_region(answer, gold)
    if isinstance(answer, Several) and isinstance(gold, Several):
        return _same_several(answer, gold)
    if isinstance(answer, Several) or isinstance(gold, Several):
        return _same_single(answer, gold)
    if isinstance(answer, Words) and isinstance(gold, Words):
        return answer == gold or (
            set(answer.text.removesuffix(gold.text).split()) <= _FILLERS
            and answer.text.endswith(f" {gold.text}")
        )
    return answer == gold


def _same_single(answer: Form, gold: Form) -> bool:
    """Compare a list with a single form: a list of one item is that item, a ratio is a fraction."""
    several, other = (answer, gold) if isinstance(answer, Several) else (gold, answer)
    assert isinstance(several, Several)
    if several.kind == "ratio" and len(several.items) == 2 and isinstance(other, Quantity):
        first, second = (item.node for item in several.items if isinstance(item, Quantity))
        return _same_quantity(Quantity(("/", first, second)), other)
    return len(several.items) == 1 and (
        same(several.items[0], gold) if several is answer else same(answer, several.items[0])
    )


def _same_several(answer: Several, gold: Several) -> bool:
    if len(answer.items) != len(gold.items):
        return False
    kinds = {answer.kind, gold.kind}
    if kinds == {"ratio"}:
        return _same_ratio(answer, gold)
    if kinds <= {"list", "set"} and not _has_dots(answer) and not _has_dots(gold):
        return _same_items(answer.items, gold.items)
    brackets = {kind for kind in kinds if kind != "list"}
    if len(brackets) > 1 and (
        len(gold.items) == 2 or not all(kind[0] in "([" for kind in brackets)
    ):
        return False
    if kinds & {"set", "ratio", "clock"} and len(kinds) > 1:
        return False
    return all(same(*pair) for pair in zip(answer.items, gold.items, strict=True))


def _has_dots(several: Several) -> bool:
    return any(type(item).__name__ == "Dots" for item in several.items)


def _same_items(answer: tuple[Form, ...], gold: tuple[Form, ...]) -> bool:
    """Return whether each item has its own partner, in any order."""
    left = list(gold)
    for item in answer:
        place = next((k for k, other in enumerate(left) if same(item, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same_ratio(answer: Several, gold: Several) -> bool:
    pairs = [
        (a, g)
        for a, g in zip(answer.items, gold.items, strict=True)
        if isinstance(a, Quantity) and isinstance(g, Quantity)
    ]
    first_a, first_g = (quantity.node for quantity in pairs[0])
    return all(_same_node(("*", (a.node, first_g)), ("*", (g.node, first_a))) for a, g in pairs[1:])


def _same_quantity(answer: Quantity, gold: Quantity) -> bool:
    units = [
        quantity.unit
        for quantity in (answer, gold)
        if quantity.unit is not None and quantity.unit.dimension
    ]
    if len(units) == 2 and units[0] != units[1]:
        scale = Fraction(units[0].size) / units[1].size
        scaled_answer = replace(
            answer, node=("*", (("number", scale), answer.node)), half_width=None
        )
        return units[0].dimension == units[1].dimension and _same_value(scaled_answer, gold)
    if _same_value(answer, gold):
        return True
    if answer.face == gold.face:
        return False
    for marked, other, swapped in ((answer, gold, False), (gold, answer, True)):
        if marked.face and not other.face:
            scaled: Node = (
                "*",
                (marked.node, ("number", Fraction(1, 100)) if marked.face == "%" else _DEGREE),
            )
            half_width = (
                marked.half_width / 100
                if marked.half_width is not None and marked.face == "%"
                else None
            )
            inside = Quantity(scaled, None, half_width, "", marked.decimal)
            return _same_value(other, inside) if swapped else _same_value(inside, other)
    return False


def _same_value(answer: Quantity, gold: Quantity) -> bool:
    """Return whether two quantities are equal, or one is a decimal: the other one, rounded."""
    if _same_node(answer.node, gold.node):
        return True
    if not (answer.decimal or gold.decimal) or not (answer.closed and gold.closed):
        return False
    a, g = (inexact(evaluate(quantity.node, {})) for quantity in (answer, gold))
    difference = abs(a.value - g.value)
    if difference <= _CLOSE * abs(g.value):
        return True
    half_width = answer.half_width if answer.decimal else gold.half_width
    return half_width is not None and difference <= float(half_width) * (1 + 1e-9)


def _same_node(answer: Node, gold: Node) -> bool:
    """Return whether two expressions are equal at every point at which both have values."""
    if answer == gold:
        return True
    names = symbols(answer) | symbols(gold)
    compared = 0
    for point in _points(names, "abs" in functions(answer) | functions(gold)):
        values = _both(answer, gold, point)
        if values is None:
            continue
        if not equal(*values):
            return False
        compared += 1
    return compared > 0


def _points(names: frozenset[str], negative: bool) -> Iterator[dict[str, Fraction]]:
    """Yield a few pseudo-random points, the same for both expressions."""
    if not names:
        yield {}
        return
    for k in range(_POINTS + negative):
        sign = -1 if k == _POINTS else 1
        yield {
            name: sign * Fraction(1000 + crc32(f"{name}/{k}".encode()) % 9973, 4096 + 7 * k)
            for name in names
        }


def _both(answer: Node, gold: Node, point: dict[str, Fraction]) -> tuple[Value, Value] | None:
    """Return the values of two expressions; None if neither has one."""
    values: list[Value | None] = []
    for node in (answer, gold):
        try:
            values.append(evaluate(node, point))
        except Unreadable:
            values.append(None)
    if values[0] is None or values[1] is None:
        if values[0] is not values[1] or not point:
            raise Unreadable("one of both has no value")
        return None
    return values[0], values[1]


def _relation_of(form: Form) -> Relation | None:
    if isinstance(form, Relation):
        return form
    if isinstance(form, Named) and isinstance(form.form, Quantity) and "(" not in form.name:
        return Relation("=", ("+", (("symbol", form.name), ("-", form.form.node))))
    if isinstance(form, Region) and len(form.stretches) == 1 and form.name:
        stretch = form.stretches[0]
        symbol: Node = ("symbol", form.name)
        if isinstance(stretch.low, Infinite) and isinstance(stretch.high, Quantity):
            return Relation(
                "<=" if stretch.high_closed else "<", ("+", (symbol, ("-", stretch.high.node)))
            )
        if isinstance(stretch.high, Infinite) and isinstance(stretch.low, Quantity):
            return Relation(
                "<=" if stretch.low_closed else "<", ("+", (stretch.low.node, ("-", symbol)))
            )
    return None


def _same_relation(answer: Form, gold: Form) -> bool:
    """Return whether two relations are equal up to a factor, above 0 for inequalities."""
    left, right = _relation_of(answer), _relation_of(gold)
    if left is None or right is None or left.sign != right.sign:
        return False
    names = symbols(left.difference) | symbols(right.difference)
    factor: Value | None = None
    for point in _points(names, "abs" in functions(left.difference) | functions(right.difference)):
        values = _both(left.difference, right.difference, point)
        if values is None:
            continue
        if any(inexact(value).value == 0 for value in values):
            return False
        ratio = evaluate(("/", ("value", values[0]), ("value", values[1])), {})
        if factor is not None and not equal(ratio, factor):
            return False
        factor = ratio
    return factor is not None and (left.sign in ("=", "!=") or inexact(factor).value.real > 0)


def _same_region(answer: Form, gold: Form) -> bool:
    try:
        left, right = region_of(answer), region_of(gold)
    except Unreadable:
        return _same_relation(answer, gold)
    if left.name and right.name and left.name != right.name:
        return False
    if len(left.stretches) != len(right.stretches):
        return False
    ordered = [sorted(region.stretches, key=_start) for region in (left, right)]
    return all(_same_stretch(*pair) for pair in zip(*ordered, strict=True))


def _start(stretch: Stretch) -> float:
    if isinstance(stretch.low, Infinite):
        return float("inf") * stretch.low.sign
    assert isinstance(stretch.low, Quantity)
    return inexact(evaluate(stretch.low.node, {})).value.real


def _same_stretch(answer: Stretch, gold: Stretch) -> bool:
    closed = (answer.low_closed, answer.high_closed) == (gold.low_closed, gold.high_closed)
    if isinstance(gold.low, Infinite) or isinstance(gold.high, Infinite):
        ends = (
            (gold.low, answer.low_closed == gold.low_closed),
            (gold.high, answer.high_closed == gold.high_closed),
        )
        closed = all(isinstance(end, Infinite) or equal_ends for end, equal_ends in ends)
    return closed and same(answer.low, gold.low) and same(answer.high, gold.high)
