import time

import pytest

from g2rpo.scoring.latex_number import printed_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24.2", 24.2),
        ('"24.2"', 24.2),
        ("$7.2^{\\circ}$", 7.2),
        ("$1\\frac{1}{2}$", 1.5),
        ("2^{10}", 1024),
        ("so it is $\\boxed{\\frac{21}{8}}$ cm", 2.625),
        ("\\boxed{5} and again \\boxed{5}", 5),
        ("\\boxed{5} no \\boxed{6}", None),
        ("\\sqrt{4}", None),  # Python knows neither roots nor pi
        ("4\\pi", None),
        ("\\boxed{c}", None),
        ("6 cm", None),
        ("", None),
        ("9^{9^{9^{9}}}", None),
    ],
)
def test_what_the_printed_text_is_worth(text: str, value: float | None) -> None:
    assert printed_value(text) == (None if value is None else pytest.approx(value))


def test_100_000_characters_are_read_within_a_second() -> None:
    printed_value("1")  # imports the library
    pieces = ("(", "[", "{", "\\frac{1}{", "\\boxed{", "\\boxed", "\\boxed{1}", "1", "-", "|", "1+")
    for piece in pieces:
        for size in (115, 100_000):
            text = piece * (size // len(piece))
            for read in (text, f"{text}1", f"\\boxed{{{text}}}"):
                start = time.process_time()
                printed_value(read)
                assert time.process_time() - start < 1, read[:50]
