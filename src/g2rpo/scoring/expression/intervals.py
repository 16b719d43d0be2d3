"""Inequalities and intervals as regions of the real line, and the union of several."""

from g2rpo.scoring.expression.forms import (
    Form,
    Infinite,
    Quantity,
    Region,
    Relation,
    Several,
    Stretch,
)
from g2rpo.scoring.expression.value import Unreadable

_FLIPPED = {">": "<", ">=": "<="}
_PAIRS = ("(", "[")


def comparison(left: Form, sign: str, right: Form) -> Form:
    """Return an inequality; one of a symbol and a number is an interval."""
    if sign in _FLIPPED:
        left, right, sign = right, left, _FLIPPED[sign]
    below, above = left, right
    if sign == "!=":
        below, above = (
            (above, below) if isinstance(below, Quantity) and below.closed else (below, above)
        )
        if _symbol(below) and isinstance(above, Quantity) and above.closed:
            stretches = (
                Stretch(Infinite(-1), above, False, False),
                Stretch(above, Infinite(1), False, False),
            )
            return Region(_symbol(below), stretches)
    closed = sign == "<="
    if _symbol(below) and _is_end(above) and sign != "!=":
        return Region(_symbol(below), (Stretch(Infinite(-1), above, False, closed),))
    if _symbol(above) and _is_end(below) and sign != "!=":
        return Region(_symbol(above), (Stretch(below, Infinite(1), closed, False),))
    if (
        isinstance(below, Quantity)
        and isinstance(above, Quantity)
        and not (below.closed and above.closed)
    ):
        return Relation(sign, ("+", (below.node, ("-", above.node))))
    raise Unreadable("an inequality of numbers")


def between(sides: list[Form], signs: list[str]) -> Form:
    """Return the interval that two inequalities such as `1 < x <= 3` describe.

    Raises:
        Unreadable: The middle is not a symbol, or an end is not a number.
    """
    if signs[0][0] == ">":
        sides, signs = sides[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
    low, middle, high = sides
    if not (_symbol(middle) and _is_end(low) and _is_end(high)):
        raise Unreadable("a chain of inequalities")
    return Region(_symbol(middle), (Stretch(low, high, signs[0] == "<=", signs[1] == "<="),))


def _symbol(form: Form) -> str:
    return form.node[1] if isinstance(form, Quantity) and form.node[0] == "symbol" else ""


def _is_end(form: Form) -> bool:
    return isinstance(form, Infinite) or (isinstance(form, Quantity) and form.closed)


def region_of(form: Form) -> Region:
    """Return an interval or a set of numbers as a region.

    Raises:
        Unreadable: it is none.
    """
    if isinstance(form, Region):
        return form
    if isinstance(form, Several) and form.kind == "set":
        return Region("", tuple(Stretch(item, item, True, True) for item in form.items))
    if (
        isinstance(form, Several)
        and len(form.items) == 2
        and form.kind[:1] in _PAIRS
        and all(_is_end(item) for item in form.items)
    ):
        return Region("", (Stretch(*form.items, form.kind[0] == "[", form.kind[-1] == "]"),))
    raise Unreadable("no interval")


def _both(*regions: Region) -> Region:
    """Return the intersection of two half-lines, one bounded below and one above."""
    ends = [stretch for region in regions for stretch in region.stretches]
    if len(ends) == 2 and isinstance(ends[0].low, Infinite):
        ends.reverse()
    if (
        len(ends) != 2
        or not isinstance(ends[0].high, Infinite)
        or not isinstance(ends[1].low, Infinite)
    ):
        raise Unreadable("several inequalities that are no interval")
    return Region(
        regions[0].name,
        (Stretch(ends[0].low, ends[1].high, ends[0].low_closed, ends[1].high_closed),),
    )


def united(regions: list[Region], union: bool) -> Region:
    """Return the union of regions, or the intersection of two half-lines if `union` is false."""
    names = {region.name for region in regions if region.name}
    if len(names) > 1:
        raise Unreadable("a union over several names")
    if not union:
        return _both(*regions)
    return Region(
        names.pop() if names else "",
        tuple(stretch for region in regions for stretch in region.stretches),
    )
