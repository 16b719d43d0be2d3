"""Years in sentences."""

import re

from g2rpo.scoring.extract import plain
from g2rpo.scoring.statement import is_unsure, without_negated

YEARS = range(1600, 2101)
"""Numbers that are taken for years."""
LONGEST = 400
"""Characters of an answer that are read, from its end."""
_YEAR = re.compile(r"(?<![\w.,$€£-])(?:1[6-9]\d\d|20\d\d|2100)(?![\w%]|[.,]\d|\s*[-/]\s*\d)")


def is_year(gold: str) -> bool:
    """Return whether a gold answer is a year.

    >>> is_year("1953"), is_year("953"), is_year("1,953")
    (True, False, False)
    """
    return gold.isdecimal() and len(gold) == 4 and int(gold) in YEARS


def stated_year(text: str) -> int | None:
    """Return the only year that a text mentions; None if there are several, or the text is unsure.

    >>> stated_year("The peak came in 1953 with 400 cases."), stated_year("1953 or 1954")
    (1953, None)
    """
    text = text[-LONGEST:]
    years = set(_YEAR.findall(without_negated(plain(text))))
    return int(years.pop()) if len(years) == 1 and not is_unsure(text) else None
