"""Yes or no in text that a model wrote."""

import re

from g2rpo.scoring.statement import answer_tail, is_unsure

_WORD = re.compile(r"\b(yes|no)\b(?!\s*\.\s*\d)", re.IGNORECASE)
_LEADING = re.compile(
    r"(yes|no)\b(?!\s+(?!(?:it|there|the|this|that|they|he|she|because|i|as|since)\b)[a-z]+)",
    re.IGNORECASE,
)
"""The word at the start, unless it denies a noun: `No obstacle blocks it`."""
_SUBJECT = r"(?:(?:it|that|this|the\s+(?:statement|claim))(?:'s|\s+is)\s+)?"
_LIKE = {
    "no": re.compile(
        rf"(?:nope|nah|never|negative|no\s+way|{_SUBJECT}(?:false|incorrect|impossible|not\s+(?:possible|true|correct|right|at\s+all))"
        r"|(?:definitely|certainly|absolutely|probably|unfortunately|of\s+course|i'm\s+afraid)\s+not|not\s+(?:really|at\s+all)"
        r"|i\s+do(?:n't|\s+not)\s+think\s+so|(?:it|that|this)\s+(?:is|does|can|will)(?:n't|\s*not)(?:\s+fit)?)\s*(?:[.,!;]|$)",
        re.IGNORECASE,
    ),
    "yes": re.compile(
        rf"(?:yeah|yep|yup|affirmative|absolutely|definitely|certainly|of\s+course|sure|indeed"
        rf"|{_SUBJECT}(?:true|correct|right|possible)|(?:it|that|this)\s+(?:is|does|can|will|fits))\s*(?:[.,!;]|$)",
        re.IGNORECASE,
    ),
}
"""Other words for yes and no, at the start and on their own."""
_CORRECTED = re.compile(
    r"\b(?:wait|actually|correction|but|rather|sorry)\b[\W_]*(?:it\s+is\s+)?(yes|no)\W*$",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\bno\s+(?:\w+\s+)?(?:space|room|way)\b|\b(?:not|n't)\s+enough\b|\bcannot\b|\bimpossible\b|\binsufficient\b"
    r"|\b(?:is|are|was|were|does|do|did|can|could|will|would|has|have)(?:n't|\s+not)\b(?:\s+(?:appear|seem|look|think|believe)\b[^.,;\n]*)?|\b(?:can|won)'t\b"
    r"|(?<!not\s)\btoo\s+(?:small|narrow|large|big|tall|wide|long|little|short|far|high|low|close|tight)\b",
    re.IGNORECASE,
)
_AFFIRMED = re.compile(
    r"\b(?:enough|sufficient|ample|plenty\s+of)\s+(?:\w+\s+)?(?:space|room)\b|\bindeed\b|\bfits\b"
    r"|\b(?:can|could|will|would|should)\s+(?:\w+\s+)?(?:fit|be\s+(?:placed|put))\b|\bit\s+is\s+possible\b",
    re.IGNORECASE,
)
"""Statements that say no, or yes, without the word."""
_REQUEST = re.compile(
    r"^\s*(?:please\s+)?(?:answer|reply|respond|say)(?:\s+the\s+question)?\s+(?:with\s+)?(?:only\s+)?yes\s+or\s+no\b\W*",
    re.IGNORECASE,
)
"""An instruction that a model repeats."""
_NEAR = 20
"""Characters between a negation and what it denies."""
_REASON = re.compile(r"\b(?:because|since|due\s+to)\b.*", re.IGNORECASE | re.DOTALL)
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
    text = _REQUEST.sub("", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    bare = text.lstrip(" \t\r\n*_`'\"([<{$")
    corrected = _CORRECTED.search(text)
    if corrected:
        return corrected[1].lower()
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
    if is_unsure(text) or len(words) == 2:
        return None
    # `there is no gap` denies a noun, and says neither
    if words == {"yes"} or (
        words == {"no"} and not re.search(r"\bno\s+[a-z]", text, re.IGNORECASE)
    ):
        return words.pop()
    return _by_statement(_REASON.sub("", text))


def _by_statement(text: str) -> str | None:
    """Return what the last statement that denies or affirms something says."""
    denied, affirmed = (
        [match.end() for match in pattern.finditer(text)] for pattern in (_DENIED, _AFFIRMED)
    )
    if denied and (not affirmed or affirmed[-1] - denied[-1] <= _NEAR):
        return "no"  # `not enough room` ends where the room does
    return "yes" if affirmed else None
