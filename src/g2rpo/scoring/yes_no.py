"""Yes or no in text that a model wrote."""

import re

from g2rpo.scoring.statement import answer_tail, is_unsure

_WORD = re.compile(r"\b(yes|no)\b(?!\s*\.\s*\d)", re.IGNORECASE)
_LEADING = re.compile(
    r"(yes|no)\b(?!\s+(?!(?:it|there|the|this|that|they|he|she|because|i|as|since)\b)[a-z]+)",
    re.IGNORECASE,
)
"""The word at the start, unless it denies a noun: `No obstacle blocks it`."""
_LIKE = {
    "no": re.compile(
        r"(?:nope|nah|false|incorrect|(?:definitely|certainly|probably|of\s+course)\s+not|not\s+possible|it\s+(?:is|does|can|will)"
        r"(?:n't|\s*not)(?:\s+fit)?)\s*(?:[.,!;]|$)",
        re.IGNORECASE,
    ),
    "yes": re.compile(
        r"(?:yeah|yep|yup|true|correct|definitely|certainly|of\s+course|sure|indeed|it\s+(?:is|does|can|will|fits))\s*(?:[.,!;]|$)",
        re.IGNORECASE,
    ),
}
"""Other words for yes and no, at the start and on their own."""
_TURN = re.compile(
    r"\b(?:so|thus|hence|therefore|answer|conclusion)\b[^.!?\n]*?\b(yes|no)\b(?!\s+[a-z])",
    re.IGNORECASE,
)
_ALONE = re.compile(
    r"(?:^|[.!?,;:\n(]\s*)[*_\"'`(\[]*(yes|no)[*_\"'`)\]]*\s*(?=[.!,;:\n)]|$)", re.IGNORECASE
)


def leading_yes_no(text: str) -> str | None:
    """Return `yes` or `no` if the text begins with it, as RoboSpatial does; else None.

    It may be part of a longer word.

    >>> leading_yes_no("Yes, it fits."), leading_yes_no("Nobody knows"), leading_yes_no("It is yes")
    ('yes', 'no', None)
    """
    text = text.lstrip()[:3].lower()
    return "yes" if text.startswith("yes") else "no" if text.startswith("no") else None


def stated_yes_no(text: str) -> str | None:
    """Return whether a text says yes or no; None if it says neither, both, or is unsure.

    In this order: the last `answer is`, the word at the start, the last `so ... yes`, the word as a
    sentence or clause of its own, the only one of the two that occurs.

    >>> stated_yes_no("**No**, yes was wrong"), stated_yes_no("The answer is yes.")
    ('no', 'yes')
    >>> stated_yes_no("No obstacle blocks it, so the answer is yes.")
    'yes'
    >>> stated_yes_no("There is no obstacle, so it fits. Yes."), stated_yes_no("yes or no")
    ('yes', None)
    """
    text = text[:300] + text[-1700:] if len(text) > 2000 else text
    bare = text.lstrip(" \t\r\n*_`'\"([<{$")
    stated = {word.lower() for word in _WORD.findall(answer_tail(text))}
    if len(stated) == 1:
        return stated.pop()
    if re.match(r"(?:either\s+)?(?:yes|no)\s*(?:or|/|and)\s*(?:yes|no)\b", bare, re.IGNORECASE):
        return None
    first = _LEADING.match(bare)
    if first:
        return first[1].lower()
    for word, pattern in _LIKE.items():
        if pattern.match(bare):
            return word
    for pattern in (_TURN, _ALONE):
        found = pattern.findall(text)
        if found:
            return str(found[-1]).lower()
    words = {word.lower() for word in _WORD.findall(text)}
    if len(words) != 1 or is_unsure(text):
        return None
    word = words.pop()
    # `there is no gap` denies a noun, and says neither
    return None if word == "no" and re.search(r"\bno\s+[a-z]", text, re.IGNORECASE) else word
