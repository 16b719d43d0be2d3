"""Values of functions: roots, logarithms, trigonometry, factorials, rounding."""

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from g2rpo.scoring.expression.value import (
    EPSILON,
    Inexact,
    Unreadable,
    Value,
    divide,
    inexact,
    multiply,
    power,
)


def call(name: str, args: list[Value]) -> Value:
    """Return the value of a function at its arguments.

    Raises:
        Unreadable: The function is unknown, or has no value there.
    """
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
            positive = power(-radicand, 1 / degree)
            return multiply(Fraction(-1), positive)
        return power(radicand, divide(Fraction(1), degree))
    if name == "log":  # of a base
        return divide(call("ln", args[:1]), call("ln", args[1:]))
    if name == "exp":
        return power(Inexact(math.e, 1e-15), args[0])
    argument = inexact(args[0])
    result = _smooth(name, argument.value)
    step = max(argument.error, abs(argument.value) * EPSILON)
    slope = (
        max(abs(_smooth(name, argument.value + shift) - result) for shift in (step, -step))
        if step and name not in _EDGES
        else 0.0
    )
    return Inexact(
        result,
        2 * slope
        + step * (name in _EDGES)
        + EPSILON * max(abs(result), 1 if name in ("sin", "cos") else 0),
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
