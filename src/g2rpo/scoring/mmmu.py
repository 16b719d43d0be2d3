"""The two parsers of MMMU's own evaluation: for option letters, and for open answers.

Rules after mmmu/utils/eval_utils.py of the MMMU repository, defects included, except one: where it
draws a random option, nothing is read.
"""

import re
from collections.abc import Iterable, Mapping

_TRIMMED = ",.!?;:'"
_TURNS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NOTHING = {":", ",", ".", "!", "?", ";", "'"}
_FEWEST_WORDS = 6
"""Words a text must have before the text of an option counts."""
_LONGEST = 20_000
"""Characters read of an answer, from its end."""
_THOUSANDS = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
# A run of digits is tried from its start only, and never given back: 100,000 digits take no time.
_SCIENTIFIC = re.compile(r"-?(?<!\d)\d++(?:\.\d++)?[eE][+-]?\d++")
_SIMPLE = re.compile(r"-?(?:(?<!\d)\d++\.\d++|\.\d++|(?<!\d)\d++\b)(?![eE][+-]?\d+)(?![,\d])")


def official_option(text: str, options: Mapping[str, str]) -> str | None:
    """Return the option letter that an answer names; of several the rightmost.

    It stands in brackets, else between spaces, else an option's text occurs in a longer answer.

    >>> official_option("(A) or (B)", {"A": "x", "B": "y"})
    'B'
    >>> official_option("**B**", {"A": "x", "B": "y"})
    """
    for mark in _TRIMMED:
        text = text.strip(mark)
    text = f" {text} "
    for form in ("({})", " {} "):
        places = {letter: text.rfind(form.format(letter)) for letter in options}
        if max(places.values(), default=-1) >= 0:
            return max(places, key=lambda letter: places[letter])
    if len(text.split()) < _FEWEST_WORDS:
        return None
    lowered = text.lower()
    places = {letter: lowered.rfind(option.lower()) for letter, option in options.items()}
    return (
        max(places, key=lambda letter: places[letter])
        if max(places.values(), default=-1) >= 0
        else None
    )


def open_candidates(text: str) -> set[str | float]:
    """Return what an open answer may mean: tails after `is`, `so` and the like, and all numbers.

    >>> sorted(map(str, open_candidates("So the answer is 1,400 cm.")))
    ['1,400 cm', '1400.0', '400.0']
    """
    tails = _tails(text[-_LONGEST:])
    found = [*tails, *(number for tail in tails for number in _numbers(tail))]
    return {form for item in found for form in normal_forms(item)}


def normal_forms(text: str) -> list[str | float]:
    """Return a number rounded to two decimals, else the text in lower case.

    A single letter gets a space before or after it.

    >>> normal_forms("1,000.004"), normal_forms("C"), normal_forms("Cat")
    ([1000.0], [' c', 'c '], ['cat'])
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lowered = text.lower()
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]


def open_match(candidates: Iterable[str | float], golds: Iterable[str]) -> str | float | None:
    """Return the candidate that contains a gold text or equals a gold number; None if none does.

    >>> open_match({"the 24/7 shop", 5.0}, ["24/7"]), open_match({5.0}, ["5.001"])
    ('the 24/7 shop', 5.0)
    >>> open_match({"five"}, ["5"])
    """
    wanted = [form for gold in golds for form in normal_forms(gold)]
    texts, values = (
        [form for form in wanted if isinstance(form, str)],
        {form for form in wanted if not isinstance(form, str)},
    )
    for candidate in candidates:
        if (
            any(text in candidate for text in texts)
            if isinstance(candidate, str)
            else candidate in values
        ):
            return candidate
    return None


def _tails(text: str) -> list[str]:
    text = text.strip().strip(".").lower()
    lines = text.split("\n")
    tails = []
    for place, line in enumerate(lines):
        shortest = ""
        for turn in (*_TURNS, "=") if place == len(lines) - 1 else _TURNS:
            if turn in line:
                tail = line.rpartition(turn)[2].strip()
                shortest = tail if not shortest or len(tail) < len(shortest) else shortest
        if shortest and shortest not in _NOTHING:
            tails.append(shortest)
    return tails or [text]


def _numbers(text: str) -> list[str]:
    return [
        number for pattern in (_THOUSANDS, _SCIENTIFIC, _SIMPLE) for number in pattern.findall(text)
    ]
