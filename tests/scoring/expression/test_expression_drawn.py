"""Random expressions in several notations are equal, perturbed ones are not, and nothing that
`robust` scoring reads is lost.
"""

from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from g2rpo.scoring.expression import same_expression, same_number
from g2rpo.scoring.quantity import exact_number, same_value

FEW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WHOLE = st.integers(-10_000, 10_000)
SMALL = st.integers(1, 99)
Draw = tuple[list[str], list[str]]
"""Notations of one value, and notations of other values."""


@st.composite
def integers(draw) -> Draw:
    n, other = draw(WHOLE), draw(WHOLE.filter(bool))
    texts = [
        f"{n}",
        f"${n}$",
        f"{n}.0",
        f"{n:,}",
        f"{n} cm",
        f"x = {n}",
        f"The answer is {n}.",
        rf"\text{{{n}}}",
        f"{n}".replace("-", "−"),
    ]
    wrong = [
        f"{n + other}",
        rf"{n}\pi",
        f"{n}, {n + 1}",
        f"{n}x",
        f"{n} or {n + other}",
        f"between {n} and {n + 3}",
        f"{n}.5",
    ]
    return [*texts, f"{2 * n}/2", f"{n}e0"], wrong + (
        [f"{-n}", rf"{n}\sqrt{{2}}", f"{n}e1"] if n else []
    )[:3]


@st.composite
def fractions(draw) -> Draw:
    p, q = draw(WHOLE.filter(bool)), draw(st.integers(2, 99))
    texts = [
        f"{p}/{q}",
        rf"\frac{{{p}}}{{{q}}}",
        rf"$\dfrac{{{2 * p}}}{{{2 * q}}}$",
        f"({p})/({q})",
        f"{p / q:.12f}",
        f"{p} / {q} cm",
    ]
    whole, rest = divmod(abs(p), q)
    if p > q and rest:
        texts += [f"{whole} {rest}/{q}", rf"{whole}\frac{{{rest}}}{{{q}}}"]
    wrong = [
        f"{p + 1}/{q}",
        f"{-p}/{q}",
        f"{p}",
        rf"\frac{{{p}}}{{{q + 1}}}",
        f"{p / q + 1:.6f}",
        rf"\frac{{{p}}}{{{q}}}x",
    ]
    return texts, wrong + ([f"{q}/{p}"] if abs(p) != q else [])


@st.composite
def radicals(draw) -> Draw:
    a, n = draw(SMALL), draw(st.integers(2, 999).filter(lambda k: int(k**0.5) ** 2 != k))
    texts = [
        rf"{a}\sqrt{{{n}}}",
        rf"{a} \sqrt {{ {n} }}",
        f"{a}*sqrt({n})",
        f"{a}√{n}",
        rf"\sqrt{{{a * a * n}}}",
        f"sqrt({n})*{a}",
    ]
    texts += [
        rf"$\sqrt{{{n}}}\cdot{a}$",
        rf"{a}({n})^{{1/2}}",
        rf"\frac{{{a * n}}}{{\sqrt{{{n}}}}}",
        f"{a * n**0.5:.10f}",
    ]
    wrong = [
        rf"{a}\sqrt{{{n + 1}}}",
        rf"{a + 1}\sqrt{{{n}}}",
        f"{a}",
        f"{n}",
        rf"\sqrt{{{n}}}+{a}",
        rf"-{a}\sqrt{{{n}}}",
        f"{a * n}",
    ]
    return texts, wrong


@st.composite
def multiples_of_pi(draw) -> Draw:
    p, q = draw(SMALL), draw(st.integers(2, 30))
    texts = [
        rf"\frac{{{p}\pi}}{{{q}}}",
        rf"\frac{{{p}}}{{{q}}}\pi",
        f"{p}*pi/{q}",
        f"{p}π/{q}",
        rf"${p}\pi/{q}$",
        rf"\frac{{{p}}}{{{q}}} \cdot \pi",
    ]
    return texts, [
        f"{p}/{q}",
        rf"\frac{{{p}\pi}}{{{q + 1}}}",
        rf"\frac{{{p + 1}\pi}}{{{q}}}",
        f"{p}*pi",
        rf"-\frac{{{p}\pi}}{{{q}}}",
    ]


@st.composite
def powers(draw) -> Draw:
    tenths, exponent = (
        draw(st.integers(11, 99).filter(lambda k: k % 10)),
        draw(st.integers(-30, 30).filter(lambda k: abs(k) > 3)),
    )
    head = f"{tenths // 10}.{tenths % 10}"
    texts = [
        rf"{head}\times10^{{{exponent}}}",
        rf"${head} \cdot 10^{{{exponent}}}$",
        f"{head}e{exponent}",
        f"{head} x 10^{exponent}",
    ]
    texts += [f"{head}*10^({exponent})", f"{head}×10^{exponent} J", f"{head}E{exponent:+03d}"]
    wrong = [
        rf"{head}\times10^{{{exponent + 1}}}",
        head,
        f"{head}e{-exponent}",
        f"{tenths}e{exponent}",
        rf"{head}1\times10^{{{exponent}}}",
        "0",
    ]
    return texts, wrong


@st.composite
def polynomials(draw) -> Draw:
    a, b, c = draw(st.integers(2, 20)), draw(st.integers(-20, 20).filter(bool)), draw(SMALL)
    texts = [
        f"{a}x^2{b:+d}x+{c}",
        f"${c}{b:+d}x+{a}x^{{2}}$",
        f"{a}*x**2 + {b}*x + {c}",
        f"({a}x{b:+d})x+{c}",
        f"y={a}x²{b:+d}x+{c}",
    ]
    wrong = [
        f"{a}x^2{b:+d}x+{c + 1}",
        f"{a}x^2{-b:+d}x+{c}",
        f"{a}x^3{b:+d}x+{c}",
        f"{a}",
        f"{c}",
        f"{a}x^2{b:+d}x",
        f"{a}t^2{b:+d}t+{c}",
    ]
    return texts, wrong


@st.composite
def points(draw) -> Draw:
    a, p, q = draw(WHOLE), draw(SMALL), draw(st.integers(2, 9))
    texts = [
        f"({a}, {p}/{q})",
        rf"\left({a},\frac{{{p}}}{{{q}}}\right)",
        f"$({a},{p / q:.9f})$",
        f"x={a}, y={p}/{q}",
        f"The point is ({a}, {p}/{q}).",
    ]
    wrong = [
        f"({a}, {p + 1}/{q})",
        f"({a + 1}, {p}/{q})",
        f"{a}",
        f"{p}/{q}",
        f"({a}, {p}/{q}, 0)",
        rf"\{{{a}, {p}/{q}\}}",
        f"[{a}, {p}/{q}]",
    ]
    return texts, wrong + ([f"({p}/{q}, {a})"] if Fraction(p, q) != a else [])


@st.composite
def sets(draw) -> Draw:
    items = draw(st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True))
    there, back = ", ".join(map(str, items)), ", ".join(map(str, items[::-1]))
    texts = [
        rf"\{{{there}\}}",
        rf"$\{{{back}\}}$",
        "{" + back + "}",
        back,
        " and ".join(map(str, items)),
        " or ".join(f"x={k}" for k in items),
    ]
    changed = ", ".join(map(str, [*items[1:], 51]))
    return texts, [
        rf"\{{{changed}\}}",
        ", ".join(map(str, items[1:])),
        there + ", 51",
        f"{items[0]}",
        f"({back})",
        f"{sum(items) + 100}",
    ]


@st.composite
def inequalities(draw) -> Draw:
    a = draw(WHOLE)
    texts = [
        f"x<{a}",
        f"${a}>x$",
        rf"(-\infty,{a})",
        rf"x \lt {a}",
        f"(-inf, {a})",
        rf"x\in(-\infty,{a})",
    ]
    return texts, [
        f"x>{a}",
        rf"x\le {a}",
        f"x<{a + 1}",
        rf"(-\infty,{a}]",
        rf"({a},\infty)",
        f"{a}",
        f"x={a}",
        f"y<{a}",
    ]


KINDS = [
    integers,
    fractions,
    radicals,
    multiples_of_pi,
    powers,
    polynomials,
    points,
    sets,
    inequalities,
]


def _check(kind, how) -> None:
    @how
    @given(kind(), st.data())
    def check(drawn: Draw, data) -> None:
        right, wrong = drawn
        gold = data.draw(st.sampled_from(right[:2]))
        assert [text for text in right if not same_expression(text, gold)] == []
        assert [text for text in wrong if same_expression(text, gold)] == []

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_notations_of_one_value_are_equal_and_other_values_are_not(kind) -> None:
    _check(kind, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_notations_of_one_value_are_equal_and_other_values_are_not_in_many_draws(kind) -> None:
    _check(kind, MANY)


@st.composite
def robust_forms(draw) -> tuple[str, str]:
    """A gold answer and a notation that `g2rpo.scoring.quantity` reads."""
    n, q = draw(st.integers(1, 10**6)), draw(st.sampled_from([2, 4, 5, 8, 10]))
    golds = [
        f"{n}",
        f"{n:,}",
        f"{n}/{q}",
        rf"\frac{{{n}}}{{{q}}}",
        f"{n / q!r}",
        rf"{n}\sqrt{{3}}",
        rf"{n}\pi",
        rf"{n}^\circ",
    ]
    gold = draw(st.sampled_from(golds))
    dress = draw(
        st.sampled_from(
            [
                "{}",
                "${}$",
                "{} cm",
                "x = {}",
                "{}°",
                "**{}**",
                "−{}",
                "{}.",
                "{} degrees",
                "{}%",
                r"\text{{{}}}",
                "{} cm^2",
            ]
        )
    )
    return gold, dress.format(draw(st.sampled_from([gold, *golds])))


def _nothing_lost(drawn: tuple[str, str]) -> None:
    gold, answer = drawn
    if same_value(answer, gold):
        assert same_expression(answer, gold)
    if exact_number(gold) is not None and exact_number(answer) == exact_number(gold):
        assert same_number(answer, gold)


@FEW
@given(robust_forms())
def test_what_robust_scoring_reads_is_read(drawn: tuple[str, str]) -> None:
    _nothing_lost(drawn)


@pytest.mark.slow
@MANY
@given(robust_forms())
def test_what_robust_scoring_reads_is_read_in_many_draws(drawn: tuple[str, str]) -> None:
    _nothing_lost(drawn)


@pytest.mark.slow
@MANY
@given(
    st.text(alphabet=r"0123456789xyei+-*/^(){}[]\, .=<>|$%!_°√π", max_size=40),
    st.text(alphabet=r"0123456789x+-/^(){}\.", max_size=12),
)
def test_any_text_is_judged_without_an_error_and_equals_itself(answer: str, gold: str) -> None:
    same_expression(answer, gold)
    same_number(answer, gold)
    assert same_expression(gold, gold) or not gold.strip(" .$")
