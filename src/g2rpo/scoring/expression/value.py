"""Numbers: exact fractions where possible, else complex numbers with a bound on their error.

Fractions stay fractions. Other results are complex numbers with the largest error that rounding can
have caused. Each result is bounded in size, so that no input takes long.
"""

import cmath
import math
from dataclasses import dataclass
from fractions import Fraction

MOST_BITS = 6000
EPSILON = 4e-16


class Unreadable(Exception):
    """The text is no expression, or its value is out of bounds."""


@dataclass(frozen=True, slots=True)
class Inexact:
    """A complex number and the largest absolute rounding error that it may have."""

    value: complex
    error: float


Value = Fraction | Inexact


def inexact(value: Value) -> Inexact:
    """Return the value as a complex number with its error."""
    if isinstance(value, Inexact):
        return value
    try:
        number = float(value)
    except OverflowError as error:
        raise Unreadable("too large") from error
    if number == 0 and value != 0:
        raise Unreadable("too small")
    return Inexact(complex(number), abs(number) * EPSILON)


def equal(left: Value, right: Value, tolerance: float = 1e-10) -> bool:
    """Return whether two values are equal.

    Fractions are compared exactly, others within the relative `tolerance` plus their rounding
    errors.
    """
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    a, b = inexact(left), inexact(right)
    return abs(a.value - b.value) <= tolerance * max(abs(a.value), abs(b.value)) + 8 * (
        a.error + b.error
    )


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MOST_BITS:
        raise Unreadable("too many digits")
    return value


def add(left: Value, right: Value) -> Value:
    """Return the sum. All four operations raise `Unreadable` if the result is out of bounds."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left + right)
    a, b = inexact(left), inexact(right)
    total = a.value + b.value
    return Inexact(total, a.error + b.error + EPSILON * (abs(a.value) + abs(b.value)))


def multiply(left: Value, right: Value) -> Value:
    """Return the product."""
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
        + EPSILON * abs(product),
    )


def divide(left: Value, right: Value) -> Value:
    """Return the ratio."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left / right)
    a, b = inexact(left), inexact(right)
    if abs(b.value) <= 8 * b.error:
        raise Unreadable("division by zero")
    ratio = a.value / b.value
    return Inexact(ratio, (a.error + abs(ratio) * b.error) / abs(b.value) + EPSILON * abs(ratio))


def power(base: Value, exponent: Value) -> Value:
    """Return the power; exact for whole exponents and exact roots."""
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
            return power(root, Fraction(exponent.numerator))
    a, b = inexact(base), inexact(exponent)
    if abs(a.value) <= a.error * 8 or a.value == 0:
        if b.value.real > 0:
            return Inexact(0j, a.error**b.value.real if a.error < 1 else a.error)
        raise Unreadable("zero to a power that is not positive")
    result = a.value**b.value
    relative = (
        abs(b.value) * a.error / abs(a.value)
        + abs(cmath.log(a.value)) * (b.error + EPSILON * abs(b.value))
        + 4 * EPSILON
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
