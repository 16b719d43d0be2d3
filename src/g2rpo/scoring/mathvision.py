"""MathVision's own extraction and comparison of answers (its evaluation/evaluate.py and utils.py).

The rules are followed with their defects, except that values are worked out by
`g2rpo.scoring.arithmetic`, not by `eval`.
"""

import re

from g2rpo.scoring.arithmetic import Number, latex_value

_ENDINGS = (" {0}.", " ({0}).")
_BEGINNINGS = ("{0}\n", "({0})\n", "({0}) {0}\n")
_FLAGS = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
_REMOVED = (
    " ",
    "\\,",
    "\n",
    "\\text",
    "\\mbox",
    "\\left",
    "\\right",
    "^{\\circ}",
    "^\\circ",
    "{m}^3",
    "m^3",
    "{units}",
    "units",
    "{km}",
    "km",
)
_STRIPPED = ("\\!", "\\$", "$", "\\%")
_LONGEST = 100_000


def official_answer(response: str) -> str:
    r"""Return the answer in a response, in lower case.

    It is a letter, a number after `is`, a box, or what follows `the answer is`.

    >>> official_answer("So x = 6"), official_answer(r"\boxed{5} no, \boxed{(B)}")
    ('6', 'b')
    >>> official_answer("The answer is 6. Done.")
    '6'
    """
    answer = response[:_LONGEST].strip()
    for letter in "ABCDE":
        if answer.endswith(tuple(end.format(letter) for end in _ENDINGS)) or answer.startswith(
            tuple(b.format(letter) for b in _BEGINNINGS)
        ):
            answer = letter
    last = answer.rpartition("is ")[2].rstrip(".")
    answer = last if _is_number(last) else answer
    if "oxed{" not in answer:
        answer = _after_flags(answer)
    elif answer.count("oxed{") > 1:
        answer = "\\boxed{" + answer.rpartition("oxed{")[2]
    answer = _formula(answer)
    for letter in "abcde":
        answer = answer.replace(f"({letter})", letter).replace(f"{{{letter}}}", letter)
    return answer.rstrip(".").lstrip(":").strip()


def official_equal(gold: str, answer: str) -> bool:
    r"""Return whether two answers are the same text, tuple of values, or value to two decimals.

    >>> official_equal("6", "6.004"), official_equal(r"\frac{1}{3}", "0.33")
    (True, True)
    >>> official_equal("(1,2)", "(1.0,4/2)"), official_equal("", "")
    (True, False)
    """
    gold, answer = gold.lower(), answer.lower()
    if not gold.strip() or not answer.strip():
        return False
    if gold.strip() == answer.strip() or _evaluated(gold) == _evaluated(answer):
        return True
    got, wanted = latex_value(answer), latex_value(gold)
    return got is not None and wanted is not None and _rounded(got) == _rounded(wanted)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _after_flags(answer: str) -> str:
    for flag in _FLAGS:
        for form in (flag, flag.replace("the", "The")):
            before, found, after = answer.rpartition(form)
            answer = (
                after.strip().partition("\n")[0].partition(". ")[0]
                if found
                else (before + after).strip()
            )
    return answer


def _formula(text: str) -> str:
    text = text.lower().replace("{}", "")
    start, end = text.find("oxed{"), text.rfind("}")
    if 0 <= start < end and end >= start + len("oxed{"):
        text = text[start + len("oxed{") : end]
    close, opening = text.find("}"), text.find("{")
    if close >= 0 and (opening < 0 or close < opening):
        text = text[:close]
    text = (
        text.rpartition("=")[2]
        .rpartition("\\approx")[2]
        .replace("∞", "\\infty")
        .replace("+\\infty", "\\infty")
        .replace("\\\\", "\\")
    )
    for part in _REMOVED:
        text = text.replace(part, "")
    return _stripped(text.replace("bmatrix", "pmatrix"))


def _stripped(text: str) -> str:
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    for part in _STRIPPED:
        text = text.replace(part, "")
    text = text.replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    text = re.sub(r"\\sqrt(?=[^{])(.)", r"\\sqrt{\1}", text)
    if text == "0.5":
        return "\\frac{1}{2}"
    return re.sub(r"^(-?\d+)/(-?\d+)$", r"\\frac{\1}{\2}", text)


def _evaluated(text: str) -> str:
    """Return a tuple or list with its items as values of two decimals; other texts unchanged."""
    items = text[1:-1].split(",")
    if len(items) < 2 or (text[0], text[-1]) not in (("(", ")"), ("[", "]")):
        return text
    values = []
    for item in items:
        value = latex_value(item)
        if "infty" in item or item in ("a", "-a"):
            values.append(item)
        elif value is None:
            return text
        else:
            values.append(str(_rounded(value)))
    return f"{text[0]}{','.join(values)}{text[-1]}"


def _rounded(value: Number) -> complex | float:
    return value if isinstance(value, complex) else round(float(value), 2)
