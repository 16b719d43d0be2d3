r"""Numbers in LaTeX as VLMEvalKit reads them for MathVision: latex2sympy, then Python's arithmetic.

The original hands the text that sympy prints to Python's `eval`, where `sqrt`, `pi` and letters are
not defined. So only arithmetic on numbers has a value. Here `python_value` computes it, and only
texts that can have a value reach the library, whose time grows exponentially with nested brackets.
"""

import re
from functools import cache
from types import ModuleType

from g2rpo.scoring.arithmetic import Number, python_value
from g2rpo.scoring.kept import kept

LONGEST, _DEEPEST = 120, 6
"""Characters, and nested brackets, of a text that the library gets."""
_COMMAND = re.compile(r"\\(?:[a-z]+|.)", re.DOTALL)
_ARITHMETIC = {
    rf"\{name}"
    for name in [
        "frac",
        "dfrac",
        "tfrac",
        "cdot",
        "times",
        "div",
        "left",
        "right",
        "circ",
        "degree",
        "boxed",
        "displaystyle",
        "quad",
        "qquad",
        "(",
        ")",
        "[",
        "]",
        ",",
        ";",
        "!",
        ":",
        "{",
        "}",
    ]
} | {"\\ ", "\\\\"}


def printed_value(text: str) -> Number | None:
    r"""Return the value of a text in LaTeX, or of its boxes if it has any; None without a value.

    >>> printed_value(r"so $\boxed{\frac{21}{8}}$"), printed_value(r"$6.5^{\circ}$")
    (2.625, 6.5)
    >>> printed_value(r"48\pi"), printed_value(r"\boxed{5}, no: \boxed{6}"), printed_value("x")
    (None, None, None)
    """
    content = _boxed(text) if "\\boxed" in text else text
    return _value(content) if 0 < len(content) <= LONGEST else None


@kept
def _value(text: str) -> Number | None:
    commands = set(_COMMAND.findall(text))
    rest = _COMMAND.sub(" ", text)
    if not commands <= _ARITHMETIC or not any(map(str.isdigit, text)):
        return None
    if any(map(str.isalpha, rest)) or max(map(text.count, "({[|")) > _DEEPEST:
        return None
    try:
        found = _library().latex2sympy(text)
    except Exception:  # noqa: BLE001  its grammar raises bare exceptions and AttributeError
        return None
    return python_value(str(found))


def _boxed(text: str) -> str:
    """Return the content of the boxes, joined by commas; the text itself if none is closed."""
    return str(_library().math_normalization.extract_boxed_content(text, mode="all"))


@cache
def _library() -> ModuleType:
    import latex2sympy2_extended

    return latex2sympy2_extended
