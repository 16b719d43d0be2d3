"""Sets of option letters, in gold answers of data sets and in answers that name several options.

C   C.   (C)   C. tall girl   CD   C, D   C and D   A/C   ["A", "C"]   the text of an option
"""

import re
from collections.abc import Mapping
from itertools import pairwise

from g2rpo.scoring.extract import plain
from g2rpo.scoring.kept import kept
from g2rpo.scoring.stem import stem

LONGEST = 2000
"""Characters of an answer that are read, from its end."""
_EDGE = ".,:;!?()[]{}\"'` \n\t"
_SEPARATOR = r"(?:\s*+(?:[,;/&+|、，；]|\band\b|和|与|及)\s*+)++|\s++|(?<=[)\]])(?=[(\[])"
_LETTER = r"[(\[{]*+([A-Za-z])[)\]}.]*+"
_LISTED = re.compile(rf"[(\[{{\s]*+{_LETTER}(?:(?:{_SEPARATOR}){_LETTER})*+[)\]}}.\s]*+")
_RUN = re.compile(r"[(\[{]?([A-Z]{2,}|[a-z]{2,6})[)\]}]?\.?")
_LABELED = re.compile(r"[(\[]?([A-Za-z])\s?[)\].:]+\s*(.+)", re.DOTALL)
_LABEL_IN_LIST = re.compile(r"(?:^|[,;\n]|\band\b)\s*[(\[]?([A-Z])[)\].:]\s*")
_HEAD = re.compile(
    r".*(?:\b(?:answers?|options?|choices?|choose|select|pick)\b|选|答案)(?:\s++(?:is|are|was|were|the|options?|choices?|letters?))*+\s*+[:=是为]?\s*+",
    re.IGNORECASE | re.DOTALL,
)
_TAIL = re.compile(
    r"\s+(?:are|is)\s+(?:(?:all|both)\s+)?(?:the\s+)?(?:correct|right|true)\b.*",
    re.IGNORECASE | re.DOTALL,
)
_SINGLE = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_PERCENT = re.compile(r"(?<=\d)(?: ?per ?cent\b| %)")
_BOTH = re.compile(r"^(?:both|the letters?|letters?)\s+", re.IGNORECASE)


def gold_letters(text: str, options: Mapping[str, str]) -> frozenset[str] | None:
    """Return the option letters of a gold answer; None if it names no option.

    `options` are the texts by letter, and may be empty. A letter that is none of the known options
    is not read.

    >>> sorted(gold_letters("C, D", {})), gold_letters("C. tall girl", {})
    (['C', 'D'], frozenset({'C'}))
    >>> gold_letters("tall girl", {"C": "tall girl"})
    frozenset({'C'})
    """
    text = plain(text).strip()
    by_text = letters_of_text(text, options)
    if by_text:
        return by_text
    found = _letters(text, known=bool(options))
    labeled = _LABELED.fullmatch(text)
    if found is None and labeled:
        found = frozenset(labeled[1].upper())
        several = [match[1] for match in _LABEL_IN_LIST.finditer(text)]
        found = frozenset(several) if len(several) > 1 else found
    return found if found and (not options or found <= set(options)) else None


def answer_letters(text: str, options: Mapping[str, str]) -> frozenset[str] | None:
    """Return the options that an answer names if several may be right; None if it names none.

    >>> texts = "DC", "C and D", "The answers are (C), (D).", "C or D"
    >>> [sorted(answer_letters(text, {}) or "") for text in texts]
    [['C', 'D'], ['C', 'D'], ['C', 'D'], []]
    """
    text = plain(text[-LONGEST:]).strip()
    found = gold_letters(text, options)
    if found is None:
        head = _HEAD.match(text)
        rest = _BOTH.sub("", _TAIL.sub("", text[head.end() if head else 0 :]))
        found = gold_letters(rest, options) if rest != text else None
    if found is None and options:
        parts = [part for part in re.split(r"\s*(?:[,;\n]|\band\b)\s*", text) if part]
        named = [
            letters_of_text(part, options) or _label_with_text(part, options) for part in parts
        ]
        found = frozenset().union(*named) if named and all(named) else None
    return found


def letters_of_text(text: str, options: Mapping[str, str]) -> frozenset[str]:
    """Return the letter of the one option with this text; empty if there is none.

    Case, punctuation at the edges and word endings do not count.

    >>> letters_of_text("Rabbits.", {"A": "a cat", "B": "rabbit"})
    frozenset({'B'})
    """
    for form in (bare, stems):
        wanted = form(text)
        same = [letter for letter, option in options.items() if wanted and form(option) == wanted]
        if same:
            return frozenset(same[:1]) if len(same) == 1 else frozenset()
    return frozenset()


def labeled_option(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter in front of an option's own text, as in `C. 3 A`; else None."""
    found = _label_with_text(text, options)
    return next(iter(found)) if found else None


@kept
def bare(text: str) -> str:
    """Return the text in lower case, with single spaces, bare edges, and `%` for percent."""
    return _PERCENT.sub("%", " ".join(plain(text).lower().strip(_EDGE).split()))


@kept
def stems(text: str) -> str:
    """Return the stems of the words, without a leading article: `the rabbits` is `Rabbit`."""
    words = bare(text).split()
    words = words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words
    words = [word.strip(_EDGE) for word in words]
    return " ".join(
        stem(word) if len(word) > 3 and word.isalpha() and word.isascii() else word
        for word in words
    )


def _letters(text: str, *, known: bool) -> frozenset[str] | None:
    """Return the letters of a text of letters and separators only; else None.

    A run such as `CD` must not repeat a letter. A run in lower case must ascend, and is read only
    if the options are `known`.
    """
    listed = _LISTED.fullmatch(text)
    if listed:
        single = _SINGLE.findall(re.sub(r"\band\b", " ", text))
        same_case = len({letter.isupper() for letter in single}) == 1
        return frozenset(map(str.upper, single)) if same_case else None
    run = _RUN.fullmatch(text)
    if run is None or len(set(run[1])) < len(run[1]):
        return None
    letters: str = run[1].upper()
    if run[1].islower() and not (known and all(a < b for a, b in pairwise(letters))):
        return None
    # without options, letters beyond J are a word: DO, OK, USA
    return frozenset(letters) if known or max(letters) <= "J" else None


def _label_with_text(text: str, options: Mapping[str, str]) -> frozenset[str]:
    labeled = _LABELED.fullmatch(text.strip())
    if labeled is None or labeled[1].upper() not in options:
        return frozenset()
    letter = labeled[1].upper()
    return frozenset(letter) if letters_of_text(labeled[2], options) == {letter} else frozenset()
