"""Expressions as trees, and their values.

Symbols get numbers, so that `(x+1)^2` and `x^2+2x+1` are compared by their values at a few points
(Schwartz-Zippel). An expression of the size that answers have takes microseconds.
"""

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from g2rpo.scoring.expression.math_functions import call
from g2rpo.scoring.expression.value import Inexact, Unreadable, Value, add, divide, multiply, power

Node = tuple[Any, ...]
"""An expression: `("number", Fraction)`, `("symbol", name)`, `("+", nodes)`, `("*", nodes)`, `("/",
a, b)`, `("^", a, b)`,
`("-", a)`, `("call", function, node, ...)`, and `("value", Value)` for one that is known."""
_CONSTANTS = {r"\pi": math.pi, "e": math.e}


def evaluate(node: Node, point: Mapping[str, Fraction]) -> Value:
    """Return the value of an expression with numbers for its symbols.

    Raises:
        Unreadable: it has none (division by zero), or it is too large.
    """
    try:
        value = _evaluate(node, point)
    except (ArithmeticError, ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if isinstance(value, Inexact) and not (
        cmath.isfinite(value.value) and math.isfinite(value.error)
    ):
        raise Unreadable("not finite")
    return value


def symbols(node: Node) -> frozenset[str]:
    """Return the names of the symbols in an expression."""
    if node[0] == "symbol":
        return frozenset((node[1],))
    return frozenset().union(*(symbols(part) for part in _parts(node)))


def functions(node: Node) -> frozenset[str]:
    """Return the names of the functions in an expression."""
    found = frozenset((node[1],)) if node[0] == "call" else frozenset()
    return found.union(*(functions(part) for part in _parts(node)))


def _parts(node: Node) -> tuple[Node, ...]:
    if node[0] in ("+", "*"):
        return node[1]
    return tuple(part for part in node[1:] if isinstance(part, tuple))


def _evaluate(node: Node, point: Mapping[str, Fraction]) -> Value:
    kind = node[0]
    if kind in ("number", "value"):
        return node[1]
    if kind == "symbol":
        return point[node[1]]
    if kind == "constant":
        return Inexact(1j, 0.0) if node[1] == "i" else Inexact(_CONSTANTS[node[1]], 1e-15)
    if kind == "call":
        return call(node[1], [_evaluate(part, point) for part in node[2:]])
    parts = [_evaluate(part, point) for part in _parts(node)]
    if kind == "+":
        return _fold(add, parts)
    if kind == "*":
        return _fold(multiply, parts)
    if kind == "-":
        return (
            -parts[0]
            if isinstance(parts[0], Fraction)
            else Inexact(-parts[0].value, parts[0].error)
        )
    return divide(*parts) if kind == "/" else power(*parts)


def _fold(operation: Callable[[Value, Value], Value], parts: list[Value]) -> Value:
    result = parts[0]
    for part in parts[1:]:
        result = operation(result, part)
    return result
