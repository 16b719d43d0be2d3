"""Option letters of multiple-choice questions."""

import re

_MACRO = re.compile(r"\\[A-Za-z]+")
_DRESSING = re.compile(r"[\s${}%\\]+")
_PAIRS = {"(": ")", "[": "]"}
_LONGEST_ANSWER = 200
"""Characters. What is longer is a sentence, not an option; reading it would only cost time."""


def option(text: str) -> str:
    r"""Return an option in lower case, without LaTeX wrappers, brackets around all, and spaces.

    >>> option(" (B)"), option(r"$\boxed{\text{B}}$"), option("B. a cat")
    ('b', 'b', 'b.acat')
    """
    bare = _DRESSING.sub("", _MACRO.sub("", text)).lower()
    while len(bare) > 1 and _PAIRS.get(bare[0]) == bare[-1]:
        bare = bare[1:-1]
    return bare


def same_option(answer: str, gold: str) -> bool:
    """Return whether the answer names the gold option and nothing else.

    >>> same_option("(b)", "B"), same_option("B, because", "B"), same_option("", "B")
    (True, False, False)
    """
    return len(answer) <= _LONGEST_ANSWER and option(answer) == option(gold)
