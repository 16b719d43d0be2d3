"""Answers to questions about charts: a number within a relative tolerance, or the same words.

ChartQA's relaxed accuracy (Masry et al. 2022, section 5.1), read as a person reads it. A year must
be exact.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from g2rpo.scoring.prediction import plain
from g2rpo.scoring.yes_no import stated_yes_no

LONGEST = 400
"""Characters of an answer that are read, from its end."""
TOLERANCE = 0.05
_ROUNDING = 1e-9
_YEARS = range(1600, 2101)
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "mn": 1e6, "mln": 1e6, "m": 1e6, "mio": 1e6}
_SCALES |= {"billion": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12, "hundred": 1e2}
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_WORDS = {word: float(value) for value, word in enumerate(_SMALL.split())}
_WORDS |= {
    word: 10.0 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}
_WORD_NUMBER = "|".join(sorted(_WORDS, key=len, reverse=True))
_DIGITS = r"(?:\d{1,3}(?:,\d{3})++(?![\d,])(?:\.\d++)?|\d++(?:\.\d*+)?|\.\d++)"
_SIGN = r"[-+]?"
_MONEY = r"(?:(?:US|C|A|HK)?\s*[$€£¥₹]|(?:USD|EUR|GBP|Rs\.?)\s*+)?\s*"
_POWER = r"(?:\s*(?:x|×|\*|\\times|\\cdot)\s*10\s*\^?\s*\{?\s*([-+]?\d{1,3})\s*\}?)?"
_AMOUNT = re.compile(
    rf"(?<![\w.,:])(?P<sign>{_SIGN}){_MONEY}(?P<inner>{_SIGN})"
    rf"(?:(?P<number>{_DIGITS}(?:[eE][-+]?\d{{1,3}})?){_POWER}(?:\s*/\s*(?P<divisor>\d++(?:\.\d++)?))?"
    rf"|(?P<word>(?:{_WORD_NUMBER})(?:[- ](?:{_WORD_NUMBER}))?)\b)"
    r"(?:\s*(?P<scale>(?i:thousand|million|billion|trillion|hundred|mln|mio|mn|bn|tn|k|m|b))(?![A-Za-z]))?"
    r"(?:\s*(?P<percent>\\?%|(?i:per ?cent(?:age)?\b)))?(?![\w:]|,\d|\.\d)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"[\s.]*(?:[A-Za-z°µ$€£¥₹²³/()'.\s-]{0,40})[.\s]*")
_TURN = re.compile(
    r"\b(?:is|was|are|were|equals|answer|about|around|approximately|roughly|of)\b\s*:?|[=≈~:]",
    re.IGNORECASE,
)
_IN_YEAR = re.compile(
    r"\b(?:in|during|of|for|since|by|from|until|year|years)\s+(?:the\s+)?(?:year\s+)?(?:1[6-9]|20)\d\d\b",
    re.IGNORECASE,
)
_PARENTHESIS = re.compile(r"\([^()]*\)")
_UNSURE = re.compile(
    r"\b(?:cannot|can't|unable|not sure|unsure|maybe|perhaps|unclear|unknown)\b", re.IGNORECASE
)
_LEAD = re.compile(
    r"(?:so|thus|hence|therefore)?[,\s]*(?:(?:the|my|it|this|that|final|correct|answer|value|colour|color|category|country|label)\s+)*"
    r"(?:is|was|are|were|answer)?\s*:?\s*(?:the\s+)?",
    re.IGNORECASE,
)
_EDGE = " .()[]{},;!\"'`*"
_ITEMS = re.compile(r"\s*(?:[,;&]|\band\b)\s*")


class Amount(NamedTuple):
    """A number as it is written: `12.5 million` has value 12.5 and scale 1e6."""

    value: float
    scale: float
    percent: bool


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
    answer, gold = plain(answer[-LONGEST:]).strip(), plain(gold).strip()
    wanted = read_amount(gold)
    if wanted is None:
        return _same_words(answer, gold)
    if answer.lower() == gold.lower():
        return True
    got = read_amount(answer) or amount_in(answer)
    if got is None:
        return False
    if gold.isdigit() and len(gold) == 4 and int(gold) in _YEARS:
        return got == Amount(wanted.value, 1.0, False)
    return any(
        abs(value - target) <= (tolerance + _ROUNDING) * abs(target)
        for value, target in _readings(got, wanted)
    )


@lru_cache(maxsize=8192)
def read_amount(text: str) -> Amount | None:
    """Return the amount that a text is, without its unit; None for anything else.

    `12:30`, `Q1` and `45-50` are no amounts.

    >>> read_amount("$1,234"), read_amount("45 to 50")
    (Amount(value=1234.0, scale=1.0, percent=False), None)
    """
    text = text.strip(" .()[]")
    match = _AMOUNT.match(text)
    return _amount(match) if match and _UNIT.fullmatch(text, match.end()) else None


@lru_cache(maxsize=8192)
def amount_in(text: str) -> Amount | None:
    """Return the one amount in a sentence; None if there are several.

    It is the value behind the last `is` or `=`, or the only number.

    >>> amount_in("In 2015 it was 45"), amount_in("20 - 13 = 7")
    (Amount(value=45.0, scale=1.0, percent=False), Amount(value=7.0, scale=1.0, percent=False))
    >>> amount_in("between 40 and 45"), amount_in("14 or 15")
    (None, None)
    """
    if _UNSURE.search(text):
        return None
    for turn in reversed(list(_TURN.finditer(text))):
        rest = read_amount(text[turn.end() :])
        if rest is not None:
            return rest
    for simpler in (
        text,
        _PARENTHESIS.sub(" ", text),
        _IN_YEAR.sub(" ", _PARENTHESIS.sub(" ", text)),
    ):
        found = [
            amount for match in _AMOUNT.finditer(simpler) if (amount := _amount(match)) is not None
        ]
        if len(found) == 1:
            return found[0]
    return None


def _amount(match: re.Match[str]) -> Amount | None:
    if match["word"]:
        value = sum(_WORDS[word] for word in re.split(r"[- ]", match["word"].lower()))
    else:
        value = float(match["number"].replace(",", "")) * 10.0 ** int(match[4] or 0)
        divisor = float(match["divisor"] or 1)
        value = value / divisor if divisor else float("nan")
    value = -value if "-" in (match["sign"], match["inner"]) else value
    scale = _SCALES[match["scale"].lower()] if match["scale"] else 1.0
    return Amount(value, scale, bool(match["percent"])) if abs(value) < float("inf") else None


def _readings(got: Amount, wanted: Amount) -> list[tuple[float, float]]:
    """Return pairs to compare; a scale or a percent sign on one side only may count or not."""
    pairs = [(got.value * got.scale, wanted.value * wanted.scale)]
    if (got.scale == 1) != (wanted.scale == 1):
        pairs.append((got.value, wanted.value))
    if got.percent and not wanted.percent:
        pairs += [(value / 100, target) for value, target in pairs]
    if wanted.percent and not got.percent:
        pairs += [(value * 100, target) for value, target in pairs]
    return pairs


def _same_words(answer: str, gold: str) -> bool:
    got, wanted = _bare(answer), _bare(gold)
    if not wanted or not got:
        return False
    if got == wanted or _bare(answer[_lead(answer) :]) == wanted:
        return True
    if wanted in ("yes", "no"):
        return stated_yes_no(answer) == wanted
    items = sorted(filter(None, _ITEMS.split(wanted)))
    return len(items) > 1 and sorted(filter(None, _ITEMS.split(got))) == items


def _lead(text: str) -> int:
    """Return where the answer begins, behind words such as `The answer is`."""
    match = _LEAD.match(text)
    return match.end() if match else 0


def _bare(text: str) -> str:
    return " ".join(text.lower().strip(_EDGE).split())
