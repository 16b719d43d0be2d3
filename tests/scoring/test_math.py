import subprocess
import sys
import threading

import pytest

from g2rpo.scoring.math import same_mathematics


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("1/2", r"$\frac{1}{2}$"),
        ("0.5", r"$\frac{1}{2}$"),
        (r"\boxed{12}", "12"),
        ("12.0", "12"),
        ("1,234", "1234"),
        (r"The area is $3\pi$", r"$$3 \pi $$"),
        ("$1+x^2$", "$x^2+1$"),
        (r"$30^\circ$", "$30$"),
        ("$(1,2)$", "$(1,2)$"),
    ],
)
def test_equal_expressions_are_equal(answer: str, gold: str) -> None:
    assert same_mathematics(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("0.51", r"$\frac{1}{2}$"),
        ("$(2,1)$", "$(1,2)$"),
        ("-12", "12"),
        ("$x^2-1$", "$x^2+1$"),
        ("no idea", "12"),
        ("", "12"),
    ],
)
def test_different_expressions_are_different(answer: str, gold: str) -> None:
    assert not same_mathematics(answer, gold)


@pytest.mark.parametrize("latex", [r"\pi", r"\sqrt{2}", "(1,2)", "x^2+1"])
def test_latex_without_marks_is_read_only_on_request(latex: str) -> None:
    assert not same_mathematics(latex, latex)
    assert same_mathematics(latex, latex, bare_latex=True)
    assert same_mathematics(latex, f"${latex}$", bare_latex=True)
    assert not same_mathematics(r"\sqrt{3}", latex, bare_latex=True)


def test_a_result_at_the_end_of_a_long_answer_is_read() -> None:
    assert same_mathematics("so " * 40_000 + r"$\frac{1}{2}$", "0.5")
    assert not same_mathematics(r"$\frac{1}{2}$" + " so" * 40_000, "0.5")


@pytest.mark.parametrize(
    "answer",
    [
        "\x00",
        "\ud800",
        "$" + "(" * 1200 + "$",  # more than Python's recursion limit
        r"\frac{" * 300 + "1",
        '$__import__("os").getcwd()$',
        "$9^{9^{9^{9}}}$",
        "9**9**9**9",
        "$100000!!$",
        "$(10^{9})!$",
        r"$\sum_{n=1}^{10^{12}} n$",
        "$(x+1)^{5000}$",
        "9" * 1990,
    ],
)
def test_hostile_answers_are_wrong_and_end(answer: str) -> None:
    assert not same_mathematics(answer, "12")


def test_large_but_ordinary_numbers_are_compared() -> None:
    assert same_mathematics("$2^{10}$", "1024")
    assert same_mathematics("$10!$", "3628800")
    assert same_mathematics(r"$10^{-6}$", "$0.000001$")
    assert same_mathematics(r"$\sum_{n=1}^{10} n$", "55")


def test_it_runs_outside_the_main_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(same_mathematics("$7/2$", "3.5")))
    thread.start()
    thread.join()
    assert found == [True]


@pytest.mark.process
def test_importing_the_judge_does_not_import_math_verify() -> None:
    code = "import sys, g2rpo.scoring.math, g2rpo.scoring.text; print('math_verify' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )
