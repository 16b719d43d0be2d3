"""Answers to questions about charts: a number within a relative tolerance, or the same words.

ChartQA's relaxed accuracy (Masry et al. 2022, section 5.1), read as a person reads it. A year must
be exact.
"""

import re

from g2rpo.scoring.amounts import Amount, read_amount, stated_amount
from g2rpo.scoring.expression import same_expression
from g2rpo.scoring.extract import plain
from g2rpo.scoring.open_answer import with_ratio
from g2rpo.scoring.statement import (
    answer_tail,
    core,
    is_unsure,
    states,
    trend,
    without_negated,
)
from g2rpo.scoring.yes_no import stated_yes_no

LONGEST = 400
"""Characters of an answer that are read, from its end."""
TOLERANCE = 0.05
_ROUNDING = 1e-9
_LEAD = re.compile(
    r"(?:so|thus|hence|therefore)?[,\s]*(?:(?:the|my|it|this|that|final|correct|answer|value|colour|color|category|country|label)\s+)*"
    r"(?:is|was|are|were|answer)?\s*:?\s*(?:the\s+)?",
    re.IGNORECASE,
)
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_NOUN = re.compile(
    r"^the\s+|\s+(?:bar|line|one|colou?r|curve|slice|segment|area|dot|sector|part|column|section)s?$"
)
"""What may stand around the name of a part of a chart."""
_EDGE = " .()[]{},;!\"'`*"
_IS = re.compile(r"\b(?:is|are|was|were)\s")
_SHORT_NAMES = dict.fromkeys(("us", "usa", "united states of america"), "united states")
_SHORT_NAMES |= {"uk": "united kingdom", "uae": "united arab emirates", "eu": "european union"}
_PLAIN = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,12})?")
"""Numbers that mean one amount, without scale, percent sign or thousands."""
_ITEMS = re.compile(r"\s*(?:[,;&]|\band\b)\s*")
YEARS = range(1600, 2101)
"""Numbers that are taken for years."""
_YEAR = re.compile(r"(?<![\w.,$€£-])(?:1[6-9]\d\d|20\d\d|2100)(?![\w%]|[.,]\d|\s*[-/]\s*\d)")

_EXTREME = re.compile(
    r"\b(?:\w+est|most|least|peak\w*|max\w*|min\w*|record)\b[^.,;:!?]{0,60}?\bin\s+(?:the\s+year\s+)?"
    rf"({_YEAR.pattern})",
    re.IGNORECASE,
)
"""The year of an extreme: `the share is highest in 2019`."""


def same_chart_answer(answer: str, gold: str, tolerance: float = TOLERANCE) -> bool:
    """Return whether two answers are the same number within `tolerance`, or the same words.

    The tolerance is relative to the gold number, and words are compared without case. The scale
    (`million`) and the percent sign may be left out. A gold year must be met exactly.

    >>> same_chart_answer("14.7", "14"), same_chart_answer("14.71", "14")
    (True, False)
    >>> same_chart_answer("2%", "2"), same_chart_answer("2", "2%")
    (True, True)
    >>> same_chart_answer("12.5 million", "12,500,000"), same_chart_answer("2011", "2010")
    (True, False)
    >>> same_chart_answer("Yes.", "yes")
    True
    """
    if _PLAIN.fullmatch(answer) and _PLAIN.fullmatch(gold):
        exact = 0.0 if is_year(gold) else tolerance + _ROUNDING
        return _within(float(answer), float(gold), exact)
    answer, gold = plain(answer[-LONGEST:]).strip(), plain(gold).strip()
    answer = with_ratio(answer, gold)
    wanted = read_amount(gold)
    if wanted is None:
        return _same_words(answer, gold) or (
            any(map(str.isdigit, gold)) and same_expression(answer_tail(answer) or answer, gold)
        )
    if answer.lower() == gold.lower():
        return True
    got = stated_amount(answer)
    if is_year(gold):
        return got == Amount(wanted.value, 1.0, False) or stated_year(answer) == int(gold)
    if got is None:
        return same_expression(answer_tail(answer) or answer, gold)
    return any(_within(*pair, tolerance + _ROUNDING) for pair in _readings(got, wanted))


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


def _within(value: float, target: float, relative: float) -> bool:
    return abs(value - target) <= relative * abs(target)


def _readings(got: Amount, wanted: Amount) -> list[tuple[float, float]]:
    """Return pairs to compare; a scale or a percent sign on one side only may count or not."""
    pairs = [(got.value * got.scale, wanted.value * wanted.scale)]
    if (got.scale == 1) != (wanted.scale == 1):
        pairs.append((got.value, wanted.value))
    if got.percent and not wanted.percent:
        pairs += [(value / 100, target) for value, target in pairs]
    if got.part is not None:
        pairs.append((got.part, wanted.value * wanted.scale))
    if wanted.percent and not got.percent:
        pairs += [(value * 100, target) for value, target in pairs]
    return pairs


def _same_words(answer: str, gold: str) -> bool:
    wanted = _bare(gold)
    if not wanted:
        return False
    if _bare(answer) == wanted:
        return True
    if wanted in ("yes", "no"):
        return stated_yes_no(answer) == wanted
    tail = answer_tail(answer)
    if is_unsure(tail or answer):
        return False
    parts = [
        _bare(part)
        for part in (
            answer,
            answer[_lead(answer) :],
            tail,
            core(tail or answer),
            _IS.split(answer)[-1],
        )
    ]
    items = sorted(filter(None, _ITEMS.split(wanted)))
    return (
        wanted in parts
        or states(answer, wanted)
        or trend(answer) == trend(gold) != ""
        or any(
            len(items) > 1 and sorted(filter(None, _ITEMS.split(part))) == items for part in parts
        )
    )


def _lead(text: str) -> int:
    """Return where the answer begins, behind words such as `The answer is`."""
    match = _LEAD.match(text)
    return match.end() if match else 0


def _bare(text: str) -> str:
    words = " ".join(_HYPHEN.sub(" ", text.lower().replace("$", "")).strip(_EDGE).split())
    words = _NOUN.sub("", words) or words
    return _SHORT_NAMES.get(words.replace(".", ""), words)
