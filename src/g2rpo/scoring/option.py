"""Which option of a multiple-choice question a text names: by VLMEvalKit's rules, and by ours."""

import re
from collections.abc import Iterable, Mapping

from g2rpo.scoring.letters import labeled_option
from g2rpo.scoring.option_parts import by_part, by_place
from g2rpo.scoring.option_phrases import leading_letter, named_letter, stated_letter
from g2rpo.scoring.option_text import prepared
from g2rpo.scoring.option_words import (
    by_amount,
    by_text,
    by_value,
    by_verdict,
    by_words,
    by_yes_no,
    labeled_text,
    refused,
    without_texts,
)
from g2rpo.scoring.statement import is_unsure

REFUSAL = "Z"
"""What VLMEvalKit reads in a text that names none of the options on purpose."""
FAILED = "Failed to obtain answer via API"
"""How VLMEvalKit's judges say that they could not answer."""
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_PUNCTUATION = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"(?:correct )?answer is \**([ABCD])\**", re.IGNORECASE)

_ALONE = re.compile(r"[^\w∠△]*(?:(?:option|choice|answer)\W+)?([A-Za-z])\W*", re.IGNORECASE)


def lettered(texts: Iterable[object]) -> dict[str, str]:
    """Return the options by letter.

    >>> lettered(["cat", 12])
    {'A': 'cat', 'B': '12'}
    """
    return {chr(ord("A") + place): str(text) for place, text in enumerate(texts)}


def infer_option(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that VLMEvalKit's exact matching reads, `Z` for a refusal, else None.

    A letter counts as a word of its own, in upper case, among the last four words, and only if no
    other option's letter is there; otherwise `answer is` and a letter from A to D; otherwise the
    one option whose text occurs.

    >>> options = {"A": "teddy bear", "B": "rabbit"}
    >>> infer_option("It is (B).", options), infer_option("A or B", options)
    ('B', None)
    >>> infer_option("Rabbit", options)
    'B'
    """
    if FAILED in text:
        return None
    if any(refusal in text for refusal in _REFUSALS):
        return REFUSAL
    words = text.translate(_PUNCTUATION).split()
    present = [letter for letter in options if letter in words]
    if len(present) == 1 and words.index(present[0]) > len(words) - 5:
        return present[0]
    if not present and REFUSAL in words:
        return REFUSAL
    phrase = _ANSWER_IS.search(text)
    if phrase and phrase[1].upper() in options:
        return phrase[1].upper()
    return _by_text(text.lower(), {letter: option.lower() for letter, option in options.items()})


def _by_text(text: str, options: Mapping[str, str]) -> str | None:
    if len(text) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, option in options.items() if option in text]
    return found[0] if len(found) == 1 else None


def read_option(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the one option that a cleaned answer names; else None.

    In this order: the letter alone, in either case; the text of an option, or a letter before its
    own option's text; the last `answer is (B)` or `B is correct`; the letter at the start; `option
    B`; the one letter that stands alone in the text, or in its last sentence; the one option whose
    text or value occurs. Options that are ruled out, names of points and angles, an echoed list of
    options, hedges and refusals name nothing.

    >>> options = {"A": "1", "B": "2", "C": "12", "D": "a dog"}
    >>> texts = "c", "12", "**(B)**", "The answer is a dog", "A or B", "not C. So the answer is B"
    >>> [read_option(text, options) for text in texts]
    ['C', 'C', 'B', 'D', None, 'B']
    """
    if text in options:
        return text
    text = prepared(text, options)
    alone = _ALONE.fullmatch(text)
    if alone and alone[1].upper() in options:
        return alone[1].upper()
    known = {letter: option for letter, option in options.items() if option.strip()}
    certain = (
        by_text(text, known)
        or labeled_option(text, known)
        or by_verdict(text, options)
        or labeled_text(text, known)
    )
    if certain:
        return certain
    rest = without_texts(text, known)
    for read, part in ((stated_letter, rest), (leading_letter, text)):
        found = read(part, options)
        if found is not None:
            return found or None
    if is_unsure(text):
        return refused(text, known)
    return (
        by_yes_no(text, known)
        or named_letter(rest, options)
        or by_value(text, known)
        or by_amount(text, known)
        or by_words(text, known)
        or by_place(text, options)
        or by_part(text, known)
    )
