"""Yes or no in text that a model wrote."""

import re

_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def leading_yes_no(text: str) -> str | None:
    """Return `yes` or `no` if the text begins with it, as RoboSpatial does; else None.

    It may be part of a longer word.

    >>> leading_yes_no("Yes, it fits."), leading_yes_no("Nobody knows"), leading_yes_no("It is yes")
    ('yes', 'no', None)
    """
    text = text.lstrip()[:3].lower()
    return "yes" if text.startswith("yes") else "no" if text.startswith("no") else None


def stated_yes_no(text: str) -> str | None:
    """Return the word that the text begins with, else the only one of the two that occurs.

    >>> stated_yes_no("**No**, yes was wrong"), stated_yes_no("The answer is yes.")
    ('no', 'yes')
    >>> stated_yes_no("either yes or no")
    """
    first = _WORD.match(text.lstrip(" \t\r\n*_`'\"([<"))
    if first:
        return first[1].lower()
    words = {match[1].lower() for match in _WORD.finditer(text)}
    return words.pop() if len(words) == 1 else None
