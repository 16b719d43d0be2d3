r"""Values of expressions: exact fractions where arithmetic is exact, otherwise complex numbers with
a bound on their rounding error.

Symbols get numbers, so that `(x+1)^2` and `x^2+2x+1` are compared by their values at a few points
(Schwartz-Zippel): an expression of the size that answers have takes microseconds, and no input can
take long, because each result is bounded in size.
"""

import cmath
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Node = tuple[Any, ...]
"""An expression: `("number", Fraction)`, `("symbol", name)`, `("+", nodes)`, `("*", nodes)`, `("/",
a, b)`, `("^", a, b)`,
`("-", a)`, `("call", function, node, ...)`, and `("value", Value)` for one that is known."""
MOST_BITS = 6000
_EPSILON = 4e-16


class Unreadable(Exception):
    """The text is no expression, or its value is out of bounds."""


@dataclass(frozen=True, slots=True)
class Inexact:
    """A complex number and the largest absolute error it may have from rounding."""

    value: complex
    error: float


Value = Fraction | Inexact
_CONSTANTS = {r"\pi": math.pi, "e": math.e}


def evaluate(node: Node, point: Mapping[str, Fraction]) -> Value:
    """The value of an expression with numbers for its symbols.

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


def inexact(value: Value) -> Inexact:
    """The value as a complex number with its error."""
    if isinstance(value, Inexact):
        return value
    try:
        number = float(value)
    except OverflowError as error:
        raise Unreadable("too large") from error
    if number == 0 and value != 0:
        raise Unreadable("too small")
    return Inexact(complex(number), abs(number) * _EPSILON)


def equal(left: Value, right: Value, tolerance: float = 1e-10) -> bool:
    """Whether two values are equal: fractions exactly, others within `tolerance`, relative, beyond
    their rounding errors.
    """
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    a, b = inexact(left), inexact(right)
    return abs(a.value - b.value) <= tolerance * max(abs(a.value), abs(b.value)) + 8 * (
        a.error + b.error
    )


def symbols(node: Node) -> frozenset[str]:
    """The names of the symbols in an expression."""
    if node[0] == "symbol":
        return frozenset((node[1],))
    return frozenset().union(*(symbols(part) for part in _parts(node)))


def functions(node: Node) -> frozenset[str]:
    """The names of the functions in an expression."""
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
        return _call(node[1], [_evaluate(part, point) for part in node[2:]])
    parts = [_evaluate(part, point) for part in _parts(node)]
    if kind == "+":
        return _fold(_add, parts)
    if kind == "*":
        return _fold(_multiply, parts)
    if kind == "-":
        return (
            -parts[0]
            if isinstance(parts[0], Fraction)
            else Inexact(-parts[0].value, parts[0].error)
        )
    return _divide(*parts) if kind == "/" else _power(*parts)


def _fold(operation: Callable[[Value, Value], Value], parts: list[Value]) -> Value:
    result = parts[0]
    for part in parts[1:]:
        result = operation(result, part)
    return result


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MOST_BITS:
        raise Unreadable("too many digits")
    return value


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left + right)
    a, b = inexact(left), inexact(right)
    total = a.value + b.value
    return Inexact(total, a.error + b.error + _EPSILON * (abs(a.value) + abs(b.value)))


def _multiply(left: Value, right: Value) -> Value:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left * right)
    if left == 0 or right == 0:
        return Fraction(0)
    a, b = inexact(left), inexact(right)
    product = a.value * b.value
    return Inexact(
        product,
        abs(a.value) * b.error
        + abs(b.value) * a.error
        + a.error * b.error
        + _EPSILON * abs(product),
    )


def _divide(left: Value, right: Value) -> Value:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left / right)
    a, b = inexact(left), inexact(right)
    if abs(b.value) <= 8 * b.error:
        raise Unreadable("division by zero")
    ratio = a.value / b.value
    return Inexact(ratio, (a.error + abs(ratio) * b.error) / abs(b.value) + _EPSILON * abs(ratio))


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            size = base.numerator.bit_length() + base.denominator.bit_length()
            if size * abs(exponent) > MOST_BITS and abs(base) != 1:
                raise Unreadable("too many digits")
            if base == 0 and exponent < 0:
                raise Unreadable("division by zero")
            return (
                base ** int(exponent)
                if abs(base) != 1
                else Fraction(1 if base == 1 or exponent % 2 == 0 else -1)
            )
        root = _exact_root(base, exponent.denominator)
        if root is not None:
            return _power(root, Fraction(exponent.numerator))
    a, b = inexact(base), inexact(exponent)
    if abs(a.value) <= a.error * 8 or a.value == 0:
        if b.value.real > 0:
            return Inexact(0j, a.error**b.value.real if a.error < 1 else a.error)
        raise Unreadable("zero to a power that is not positive")
    result = a.value**b.value
    relative = (
        abs(b.value) * a.error / abs(a.value)
        + abs(cmath.log(a.value)) * (b.error + _EPSILON * abs(b.value))
        + 4 * _EPSILON
    )
    return Inexact(result, abs(result) * relative)


def _exact_root(base: Fraction, degree: int) -> Fraction | None:
    if base < 0 or degree > 64:
        return None
    top, bottom = (_integer_root(part, degree) for part in (base.numerator, base.denominator))
    return Fraction(top, bottom) if top is not None and bottom is not None else None


def _integer_root(number: int, degree: int) -> int | None:
    if number < 2:
        return number
    if degree == 2:
        root = math.isqrt(number)
    elif number.bit_length() < 1000:
        root = round(number ** (1 / degree))
    else:
        return None
    return root if root**degree == number else None


def _call(name: str, args: list[Value]) -> Value:
    if name in _EXACT:
        return _EXACT[name](*args)
    if name == "root":
        radicand, degree = args
        if (
            isinstance(radicand, Fraction)
            and isinstance(degree, Fraction)
            and radicand < 0
            and degree.denominator == 1
            and degree % 2
        ):
            positive = _power(-radicand, 1 / degree)
            return _multiply(Fraction(-1), positive)
        return _power(radicand, _divide(Fraction(1), degree))
    if name == "log":  # of a base
        return _divide(_call("ln", args[:1]), _call("ln", args[1:]))
    if name == "exp":
        return _power(Inexact(math.e, 1e-15), args[0])
    argument = inexact(args[0])
    result = _smooth(name, argument.value)
    step = max(argument.error, abs(argument.value) * _EPSILON)
    slope = (
        max(abs(_smooth(name, argument.value + shift) - result) for shift in (step, -step))
        if step and name not in _EDGES
        else 0.0
    )
    return Inexact(
        result,
        2 * slope
        + step * (name in _EDGES)
        + _EPSILON * max(abs(result), 1 if name in ("sin", "cos") else 0),
    )


_EDGES = ("arcsin", "arccos", "asin", "acos")
"""Functions without values just outside their domain, where a difference cannot be taken."""
_SMOOTH: Mapping[str, Callable[[complex], complex]] = {
    "ln": cmath.log,
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
}
_ALSO = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}


def _smooth(name: str, argument: complex) -> complex:
    name = _ALSO.get(name, name)
    if name == "ln" and argument == 0:
        raise Unreadable("logarithm of zero")
    if name not in _SMOOTH:
        raise Unreadable(f"no function {name}")
    return _SMOOTH[name](argument)


def _absolute(value: Value) -> Value:
    return (
        abs(value)
        if isinstance(value, Fraction)
        else Inexact(complex(abs(value.value)), value.error)
    )


def _factorial(value: Value) -> Value:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= 400:
        raise Unreadable("factorial")
    return Fraction(math.factorial(int(value)))


def _binomial(total: Value, chosen: Value) -> Value:
    if not all(
        isinstance(v, Fraction) and v.denominator == 1 and 0 <= v <= 1000 for v in (total, chosen)
    ):
        raise Unreadable("binomial")
    return Fraction(math.comb(int(total), int(chosen)))  # type: ignore[arg-type]


def _rounded(direction: Callable[[Fraction], int]) -> Callable[[Value], Value]:
    def function(value: Value) -> Value:
        if isinstance(value, Inexact):
            if (
                abs(value.value.imag) > value.error
                or abs(value.value.real - round(value.value.real)) <= 8 * value.error
            ):
                raise Unreadable("rounding of an inexact number")
            value = Fraction(value.value.real)
        return Fraction(direction(value))

    return function


_EXACT: Mapping[str, Callable[..., Value]] = {
    "abs": _absolute,
    "factorial": _factorial,
    "binomial": _binomial,
    "floor": _rounded(math.floor),
    "ceil": _rounded(math.ceil),
}
