"""Years in sentences."""

import re

from g2rpo.scoring.extract import plain
from g2rpo.scoring.statement import is_unsure, without_negated

YEARS = range(1600, 2101)
"""Numbers that are taken for years."""
LONGEST = 400
"""Characters of an answer that are read, from its end."""
_YEAR = re.compile(r"(?<![\w.,$€£-])(?:1[6-9]\d\d|20\d\d|2100)(?![\w%]|[.,]\d|\s*[-/]\s*\d)")

_EXTREME = re.compile(
    r"\b(?:\w+est|most|least|peak\w*|max\w*|min\w*|record)\b[^.,;:!?]{0,60}?\bin\s+(?:the\s+year\s+)?"
    rf"({_YEAR.pattern})",
    re.IGNORECASE,
)
"""The year of an extreme: `the share is highest in 2019`."""


def is_year(gold: str) -> bool:
    """Return whether a gold answer is a year.

    >>> is_year("1953"), is_year("953"), is_year("1,953")
    (True, False, False)
    """
    return gold.isdecimal() and len(gold) == 4 and int(gold) in YEARS


def stated_year(text: str) -> int | None:
    """Return the year that a text states; None if there is none, or the text is unsure.

    It is the only one that the text mentions, or the only one in which something is highest,
    lowest or the like.

    >>> stated_year("The peak came in 1953 with 400 cases."), stated_year("1953 or 1954")
    (1953, None)
    >>> stated_year("It was highest in 1953, and fell until 1960.")
    1953
    """
    text = text[-LONGEST:]
    main = without_negated(plain(text))
    years = set(_YEAR.findall(main))
    if len(years) > 1:
        years = {match[1] for match in _EXTREME.finditer(main)}
    return int(years.pop()) if len(years) == 1 and not is_unsure(text) else None
