"""Prepare a sentence for reading its amounts: numbers in digits, plain signs, no list labels."""

import re
import unicodedata

from g2rpo.scoring.expression.number_words import with_digits
from g2rpo.scoring.extract import plain
from g2rpo.scoring.guarded import Guarded
from g2rpo.scoring.kept import kept

_SHORT = {"thousand": "k", "million": "mn", "billion": "bn", "trillion": "tn"}
_SCALE = Guarded(rf"(?<=\d)(\.?)\s*({'|'.join(_SHORT)})s?\b", " ".join(_SHORT))
_FRACTION = re.compile(r"\\[dt]?frac\s*\{?\s*(\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?")
_PRONOUN = Guarded(
    r"\b(the|this|that|which|each|no|any|other|every|first|last|correct|right) one\b", "one"
)
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_DENIED = (
    r"[,;]?\s*\b(?:not|never|cannot|can't|couldn't|isn't|wasn't)\s+(?:just\s+|only\s+|be\s+)?"
    r"[-+$]?\d[\d.,]*\d?(?:\s+but\b)?"
)
_WORDS = (
    (Guarded(r"\band\s+a\s+half\b", "half"), "1/2"),
    (Guarded(r"\b(?:an?|one|1)[\s-]+half\b|(?<![\w-])half(?=\W*$)", "half"), "1/2"),
    (Guarded(r"\b(?:an?|one|1)[\s-]+third\b", "third"), "1/3"),
    (Guarded(r"\b(?:an?|one|1)[\s-]+(?:quarter|fourth)\b", "quarter fourth"), "1/4"),
    (Guarded(r"\ba\s+single\b", "single"), "1"),
    (
        Guarded(
            r"(?<=\bthere\sare\s)no(?=\s+[a-z])|(?<=\bthere\sis\s)no(?=\s+[a-z])",
            "there",
        ),
        "0",
    ),
    (Guarded(_DENIED, "not never can't couldn't isn't wasn't"), " "),
)
"""Wordings with the digits they stand for; a number that is denied is left out."""
_GROUPS = re.compile(r"(?<![\d.,])(\d{1,3})((?:[ \u2009\u202f]\d{3})+)(?![\d.,]\d|\d)")
_MIXED = re.compile(r"(?<![\d.,/])(\d{1,4})\s+(?:and\s+)?\(?(\d{1,3})/(\d{1,3})\)?(?!\d|\s*/)")
_MINUS = re.compile(r"(?<![\d)%]\s)(?<![\d)])\b(?:minus|negative)\s+(?=\d)", re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=\d)['\u2019](?=\d{3}(?!\d))")
_UNIT_BEHIND = re.compile(
    r"(?<=\d)(?=(?:[cmk]m|[km]g|ml|km/h|m/s|sec|min|hrs?|ft|lbs?|mph|[kmg]?hz|[km]w)\b)",
    re.IGNORECASE,
)
_OUT_OF = re.compile(r"(?<=\d)\s+out\s+of\s+(?:the\s+)?(?=\d)")
_BESIDE_HAN = re.compile(r"(?<=[\u4e00-\u9fff])(?=[-+]?\d)|(?<=\d)(?=[\u4e00-\u9fff])")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\circ|\\degree")
_NUMBERED = re.compile(r"^\s*\d{1,2}[.)]\s+(?=\S)", re.MULTILINE)
_A = re.compile(r"\ban?\s+(?=(?:hundred|thousand|million|billion|dozen)\b)", re.IGNORECASE)
_FOURTHS = re.compile(r"\bfourths\b", re.IGNORECASE)
_ARROW = re.compile(r"^\s*(?:=+>|[→⇒∴])", re.MULTILINE)
_SLASH = "\N{FRACTION SLASH}"


@kept
def amount_text(text: str) -> str:
    r"""Return the text with its numbers in digits, without markup and numbers that are denied.

    >>> amount_text(r"$2\frac{1}{2}$ million"), amount_text("fourteen hundred")
    ('5/2 mn', '1400')
    >>> amount_text("1 400"), amount_text("minus 7cm")
    ('1400', '-7 cm')
    """
    text = _VULGAR.sub(
        lambda match: f" {unicodedata.normalize('NFKC', match[0]).replace(_SLASH, '/')}", text
    )
    text = _FRACTION.sub(r" \1/\2", _DEGREES.sub("", text.replace("\\,", " ").replace("\\$", "$")))
    text = (
        _BESIDE_HAN.sub(" ", plain(text))
        .replace("\\(", " ")
        .replace("\\)", " ")
        .replace("{,}", ",")
    )
    if len(_NUMBERED.findall(text)) > 1:
        text = _NUMBERED.sub("", text)
    text = _UNIT_BEHIND.sub(" ", _APOSTROPHE.sub("", _ARROW.split(text)[-1]))
    text = _SCALE.sub(lambda match: f"{match[1]} {_SHORT[match[2].lower()]}", text)
    text = with_digits(_PRONOUN.sub(r"\1", _A.sub("one ", _FOURTHS.sub("quarters", text))))
    for pattern, digits in _WORDS:
        text = pattern.sub(digits, text)
    text = _GROUPS.sub(lambda match: match[1] + "".join(match[2].split()), text)
    text = _MIXED.sub(_improper, _OUT_OF.sub("//", text))
    return _MINUS.sub("-", text)


def _improper(match: re.Match[str]) -> str:
    whole, part, parts = (int(group) for group in match.groups())
    return f"{whole * parts + part}/{parts}" if part < parts else match[0]
