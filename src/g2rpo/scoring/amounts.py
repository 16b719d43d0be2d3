"""Amounts in sentences: the number that an answer states, among those that it only mentions.

An amount is a number with its scale (`million`) and percent sign, in digits or words: `1 400`,
`1,400`, `fourteen hundred`, `2 1/2`, `1.4 x 10^3`, `minus 3`, `1.2M`. Ranges and alternatives state
none.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from g2rpo.scoring.amount_text import amount_text
from g2rpo.scoring.guarded import Guarded
from g2rpo.scoring.kept import kept
from g2rpo.scoring.statement import answer_tail, is_unsure

LONGEST = 400
"""Characters of an answer that are read, from its end."""
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "mn": 1e6, "mln": 1e6, "m": 1e6, "mio": 1e6}
_SCALES |= {"billion": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12, "hundred": 1e2}
_DIGITS = r"(?:\d{1,3}(?:,\d{3})++(?![\d,])(?:\.\d++)?|\d++(?:\.\d*+)?|\.\d++)"
_SIGN = r"[-+]?"
_MONEY = r"(?:(?:US|C|A|HK)?\s*[$€£¥₹]|(?:USD|EUR|GBP|Rs\.?)\s*+)?\s*"
_POWER = r"(?:\s*(?:x|×|\*|\\times|\\cdot)\s*10\s*\^?\s*\{?\s*([-+]?\d{1,3})\s*\}?)?"
_AMOUNT = re.compile(
    rf"(?<![\w.,:^])(?P<sign>(?:(?<![\d)]\s)[-+])?){_MONEY}(?P<inner>{_SIGN})"
    rf"(?P<number>{_DIGITS}(?:[eE][-+]?\d{{1,3}})?){_POWER}(?:\s*(?P<over>//?)\s*(?P<divisor>\d++(?:\.\d++)?))?"
    r"(?:\s*(?P<scale>(?i:thousand|million|billion|trillion|hundred|mln|mio|mn|bn|tn|k|m|b))"
    r"(?![A-Za-z]))?"
    r"(?:\s*(?P<percent>\\?%|(?i:per ?cent(?:age)?\b(?! point))))?"
    r"(?![\w:^]|,\d|\.\d|\s*(?:\\?pi\b|π|\\?sqrt|√))",
    re.IGNORECASE,
)
_UNIT = re.compile(r"[\s.]*(?:[A-Za-z°µ$€£¥₹²³/()'.\s-]{0,40})[.\s]*")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)
_NOTHING = re.compile(
    r"\W*(?:(?:there\s+(?:is|are)|it\s+is)\s+)?(?:none|nothing)\b(?:\s+(?:of\s+(?:them|these|the\s+\w+)|(?:is|are|remains?|left)))*\W*"
    r"|\W*no\s+(?:\w+\s+)?\w+s\s+(?:have|has|had|are|is|were|remain|meet|show|satisfy)\b.*",
    re.IGNORECASE | re.DOTALL,
)
_BOUND = re.compile(
    r"(?:\b(?:less|more|fewer|greater|larger|smaller|higher|lower)\s+than|\bat\s+(?:least|most)|\bup\s+to|[<>≤≥≠])\s*(?:the\s+)?$",
    re.IGNORECASE,
)
_OPEN_END = re.compile(r"\s*(?:[<>≤≥≠]|or\s+(?:more|less|fewer|greater)\b)", re.IGNORECASE)
_TURN = re.compile(
    r"(?:\b(?:is|was|are|were|equals?|about|around|approximately|roughly|nearly|almost|exactly|only|has|have|had"
    r"|gives?|giving|makes?|making|totals?|shows?|needs?|takes?|costs?|be|to|by|leaves?"
    r"|leaving|remain(?:s|ing)?|left\s+with|value(?:\s+of)?|get)\b\s*:?|[=≈~:])\s*(?:the\s+)?$",
    re.IGNORECASE,
)
_TOTAL = re.compile(
    r"(?:\b(?:total(?:s|ing|ling)?(?:\s+of|\s+is)?|(?:sum|difference)\s+(?:of|is)|leaves?|leaving|remain(?:s|ing)?)\s+|→|⇒|=>)\s*$",
    re.IGNORECASE,
)
_ANOTHER = re.compile(r"\s*(?:,|&|\+|\band\b)\s*[-\d]")
_LEFT = re.compile(
    r"(?:\s+[a-z]+){0,3}\s+(?:left|remain(?:s|ing)?|altogether|in\s+(?:all|total))\b", re.IGNORECASE
)
_EQUALS = re.compile(r"=|≈|\\approx|\\simeq")
_IN_YEAR = re.compile(
    r"\b(?:in|during|of|for|since|by|from|until|to|year|years)\s+(?:the\s+)?(?:year\s+)?(?:1[6-9]|20)\d\d\b",
    re.IGNORECASE,
)
_PARENTHESIS = re.compile(r"\([^()]*\)")
_REASON = re.compile(
    r"[,;]?\s*\b(?:because|since|according\s+to|based\s+on|as\s+(?:the|it|there|shown|seen)|given\s+that|that\s+is,?|i\.e\.,?|meaning)\b[^.\n]*"
    r"|,\s*(?:when|where|while|with|compared\s+to|(?:up|down)\s+from)\b[^.\n]*",
    re.IGNORECASE,
)
_GIVEN = re.compile(
    r"^\s*(?:since|because|as|given(?:\s+that)?|if|when|out\s+of|of|among)\b(?:[^,]|,(?=\d))*,(?=\s)",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:at|when|for|if|where|with)\s+[a-z]\s*=\s*-?\d[\d.]*(?:/\d+)?,?|\b(?:\d+(?:st|nd|rd|th)|(?:bar|step|figure|fig\.?"
    r"|table|question|row|column|group|line|item|option|page|problem|part|day|week|level|stage|point|case|example"
    r"|equation|graph|image|picture|panel|plot)\s+#?\d+)\b(?![.:]\d)",
    re.IGNORECASE,
)
"""Numbers that say where and which, not how many: `at x = 2`, `bar 3`, `the 3rd`."""
_SUM = re.compile(r"[\d\s.,()]*\d\s*(?:[+*/×÷]|\s-\s)\s*[\d\s.,()+*/×÷-]*")
_CONCLUSION = re.compile(
    r"\b(?:so|thus|hence|therefore|altogether|in\s+total|which\s+(?:is|gives|makes|means))\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[a-z]{2}[.!?])\s+|(?<=[\d)%°][.!?])\s+(?=[A-Z(])|\n+")
_CORRECTED = Guarded(
    r"\b(?:no,\s+)?(?:wait|sorry|correction|actually|i\s+mean)\b(?:[,:.\s]+(?:no|actually)\b)?[,:.\s-]*",
    "wait sorry correction actually mean",
)
"""Where a writer takes back what stands before."""
_RANGE = re.compile(
    r"(?:\s?°|\s?[a-z]{1,3}(?=\s))?\s*(?:-|–|—|\bto\b|\bor\b|/or\b)\s*", re.IGNORECASE
)
_LISTED = re.compile(r"\s*(?:,|;|&|\band\b)\s*(?:and\s+)?", re.IGNORECASE)
_BETWEEN = re.compile(r"\b(?:between|either|from)\s+\S*\s*$", re.IGNORECASE)
_COUNTED = re.compile(r"(?:\s*[A-Za-z]+){0,3}\s*,?\s*\band\b\s*", re.IGNORECASE)
_NAMES = re.compile(r"([A-Za-z])\s*$")


class Amount(NamedTuple):
    """A number as it is written: `12.5 million` has value 12.5 and scale 1e6."""

    value: float
    scale: float
    percent: bool
    part: float | None = None
    """The number before `out of`."""

    def values(self) -> tuple[float, ...]:
        """Return what the amount may mean: a scale or a percent sign may count or not.

        >>> Amount(75.0, 1.0, True).values()
        (75.0, 0.75)
        """
        found: tuple[float, ...] = (self.value * self.scale,)
        found += (self.value,) if self.scale != 1 else ()
        found += (self.part,) if self.part is not None else ()
        return (*found, *(value / 100 for value in found)) if self.percent else found


@kept
def read_amount(text: str) -> Amount | None:
    """Return the amount that a text is, without its unit; None for anything else.

    `12:30`, `Q1` and `45-50` are no amounts.

    >>> read_amount("$1,234"), read_amount("45 to 50"), read_amount("minus three").value
    (Amount(value=1234.0, scale=1.0, percent=False, part=None), None, -3.0)
    """
    return _whole(amount_text(text))


@kept
def stated_amount(text: str) -> Amount | None:
    """Return the amount that a sentence states; None if it states none, or a range.

    It is what follows the last `answer is`; else, in the conclusion or the last sentence, the value
    behind `=` or `is`, or the first number. Remarks do not count: parentheses, years, reasons.

    >>> [stated_amount(text).value for text in ("In 2015 it was 45", "20 - 13 = 7", "6 of 12 do")]
    [45.0, 7.0, 6.0]
    >>> stated_amount("between 40 and 45"), stated_amount("14 or 15"), stated_amount("maybe 6")
    (None, None, None)
    """
    text = amount_text(text[-LONGEST:])
    corrected = _CORRECTED.split(text)[-1]
    text = corrected if _AMOUNT.search(corrected) else text
    if _NOTHING.fullmatch(text) and not is_unsure(text):
        return Amount(0.0, 1.0, False)
    found = _whole(text)
    if found is not None:
        return found
    tail = answer_tail(text)
    if tail and any(map(str.isdigit, tail)):
        return None if is_unsure(tail) else _whole(tail) or _in_clause(tail)
    if is_unsure(text):
        return None
    sentences = [part for part in _SENTENCE.split(text) if _AMOUNT.search(part)]
    if not sentences:
        return None
    first = _whole(sentences[0])
    if first is not None and text.lstrip().startswith(sentences[0].strip()):
        return first
    clauses = [part for part in _CONCLUSION.split(sentences[-1]) if _AMOUNT.search(part)]
    return _in_clause(clauses[-1])


def _whole(text: str) -> Amount | None:
    text = _ORDINAL.sub("", text).strip(" ()[]").rstrip(". ").strip(" ()[]")
    match = _AMOUNT.match(text)
    if match is None or _OPEN_END.match(text, match.end()):
        return None
    return _amount(match) if _UNIT.fullmatch(text, match.end()) else None


def _in_clause(clause: str) -> Amount | None:
    """Return the amount that one clause states."""
    if _SUM.fullmatch(clause.strip(" .")):
        return None
    for simpler in (_GIVEN, _PARENTHESIS, _REASON, _IN_YEAR, _CONDITION):
        less = simpler.sub(" ", clause)
        clause = less if _AMOUNT.search(less) else clause
    matches = [match for match in _AMOUNT.finditer(clause) if _amount(match) is not None]
    if not matches:
        return None
    chosen = _after_equals(clause, matches) or next(
        (
            match
            for turn in (_TOTAL, _TURN)
            for match in matches
            if (
                turn.search(clause[: match.start()])
                and not (turn is _TOTAL and _ANOTHER.match(clause, match.end()))
            )
            or (turn is _TOTAL and _LEFT.match(clause, match.end()))
        ),
        None,
    )
    if chosen is None:
        chosen = matches[0]
        if len(matches) > 1 and _COUNTED.fullmatch(clause[chosen.end() : matches[1].start()]):
            return None  # `5 pears and 4 apples`
    return None if _is_range(clause, matches, chosen) else _amount(chosen)


def _after_equals(clause: str, matches: list[re.Match[str]]) -> re.Match[str] | None:
    """Return the result of an equation: the last one, or the first of several unknowns."""
    signs = list(_EQUALS.finditer(clause))
    if not signs:
        return None
    names = {name[1] for sign in signs if (name := _NAMES.search(clause[: sign.start()]))}
    behind = [match for match in matches if match.start() >= signs[-1].end()]
    before = [match for match in matches if match.end() <= signs[0].start()]
    if len(names) > 1:
        return next((match for match in matches if match.start() >= signs[0].end()), None)
    if (
        len(behind) > 1
        and len(before) == 1
        and re.search(r"\d\s*[-+*/×÷]\s*\d", clause[signs[-1].end() :])
    ):
        return before[0]
    return behind[0] if behind else None


def _is_range(clause: str, matches: list[re.Match[str]], chosen: re.Match[str]) -> bool:
    if _BOUND.search(clause[: chosen.start()]) or _OPEN_END.match(clause, chosen.end()):
        return True
    place = matches.index(chosen)
    value = _amount(chosen)
    only = clause.strip(" .,;()[]")
    joints = [clause[left.end() : right.start()] for left, right in pairwise(matches)]
    ends = clause[matches[0].start() : matches[-1].end()].strip(" .,;()[]")
    if len(matches) > 2 and only == ends and all(map(_LISTED.fullmatch, joints)):
        return True
    for near in (place - 1, place + 1):
        if not 0 <= near < len(matches):
            continue
        left, right = sorted((chosen, matches[near]), key=lambda match: match.start())
        joint = clause[left.end() : right.start()]
        other = _amount(matches[near])
        alone = only == clause[left.start() : right.end()].strip(" .,;()[]")
        joined = (
            _RANGE.fullmatch(joint)
            or (alone and _LISTED.fullmatch(joint))
            or (
                re.fullmatch(r"[^.,]{0,20}\band\b\s*", joint)
                and _BETWEEN.search(clause[: left.start()] + " ")
            )
        )
        if (
            joined
            and other
            and value
            and not set(map(_rounded, other.values())) & set(map(_rounded, value.values()))
        ):
            return True
    return False


def _rounded(value: float) -> str:
    return f"{value:.6g}"


def _amount(match: re.Match[str]) -> Amount | None:
    value = float(match["number"].replace(",", "")) * 10.0 ** int(match[4] or 0)
    divisor, part = float(match["divisor"] or 1), value if match["over"] == "//" else None
    value = value / divisor if divisor else float("nan")
    value = -value if "-" in (match["sign"], match["inner"]) else value
    scale = _SCALES[match["scale"].lower()] if match["scale"] else 1.0
    return Amount(value, scale, bool(match["percent"]), part) if abs(value) < float("inf") else None
