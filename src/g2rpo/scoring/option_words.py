"""The option whose text, and not whose letter, an answer states."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isclose

from g2rpo.scoring.amounts import read_amount, stated_amount
from g2rpo.scoring.expression import same_expression
from g2rpo.scoring.guarded import Guarded
from g2rpo.scoring.kept import kept
from g2rpo.scoring.letters import bare, letters_of_text, stems
from g2rpo.scoring.option_phrases import IS_WRONG
from g2rpo.scoring.statement import REFUSAL, answer_tail, without_negated
from g2rpo.scoring.yes_no import stated_yes_no

_LONGEST_VALUE = 80
_CALLED_RIGHT = re.compile(
    r"\W*\s(?:is|are|would\s+be|must\s+be)\s+(?:the\s+)?(?:correct|right|answer|\w+est|most\s+\w+)\b"
)
_SO = Guarded(r"\b(?:so|hence|thus|therefore)\b", "so hence thus therefore")
_SELECTION = re.compile(
    r"\s*(?:among|amongst|of|between|out\s+of|comparing|compared\s+(?:with|to)|considering|given)\b.*,\s+(?=(?:the|it|only)\s)",
    re.IGNORECASE | re.DOTALL,
)
"""The opening of a sentence that lists what is compared: `Among the chair and the lamp, ...`."""
_CLAUSE = re.compile(r",\s+(?:the|it|only)\s", re.IGNORECASE)
_SPAN = re.compile(
    r"(?:(?:between|from)\s+)?(-?\d[\d.,]{0,30})\s+(?:to|and)\s+(-?\d)", re.IGNORECASE
)
_JOINED_NUMBERS = re.compile(r"[\d.,]\s+(?:to|and)\s", re.IGNORECASE)
_TIGHT = re.compile(r"\s+|,(?=\s|[A-Za-z])")
_VERDICT = (
    r"\s*[?:,\-–.)]*\s*(?:is\s+)?(?:definitely\s+|clearly\s+)?"
    r"(?:(?P<yes>(?i:yes|correct|right|true)\b|[✓✔☑✅])|(?:(?i:no|not|incorrect|wrong|false)\b|[✗✘❌]))"
)
_VERDICTS = ("yes", "no", "true", "false", "correct", "incorrect", "right", "wrong", "not")
_LABEL = r"(?<![A-Za-z0-9'])[(\[]?{letter}\s?(?:[)\].:,\-–]\s*)+(?:the\s+)?{text}(?!\w|\.\d)"
_JOINED = re.compile(
    r"[^\w.!?;]*(?:,|/|\band\b|\bor\b)?[^\w.!?;]*(?:(?:a|an|the)\s+)?$", re.IGNORECASE
)
_OPENING = re.compile(
    r"(?:^|.*\b(?:is|are|was|be|it's|shows?|answer|depicts?|called|likely|see|seems|contains?)\b)\W*"
    r"(?:(?:a|an|the|to|in|on|at|of|most|probably|likely)\s+)*$",
    re.IGNORECASE | re.DOTALL,
)


def labeled_text(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that stands before its option's own text; None unless it is only one.

    >>> labeled_text("It is C. vitamin A", {"A": "vitamin C", "C": "vitamin A"})
    'C'
    """
    line = text.replace("\n", " ")
    lowered = line.lower()
    found = [
        letter
        for letter, option in options.items()
        if letter in text
        and option.strip()
        and bare(option) in lowered
        and any(
            not IS_WRONG.match(line, match.end()) for match in _label(letter, option).finditer(line)
        )
    ]
    return found[0] if len(found) == 1 else None


def by_text(text: str, options: Mapping[str, str]) -> str | None:
    """Return the option whose text the answer is, or states after `the answer is`.

    >>> by_text("The answer is vitamin A.", {"A": "vitamin C", "C": "vitamin A"})
    'C'
    >>> by_text("From 10 to 20", {"A": "0-10", "B": "10-20"})
    'B'
    """
    for part in (text, answer_tail(text)):
        found = letters_of_text(part, options) if part else frozenset()
        if found:
            return next(iter(found))
    words = sorted(bare(text).split())
    tight = _tight(text)
    return only(options, lambda option: _sorted(option) == words) or only(
        options, lambda option: _tight(option) == tight
    )


def by_verdict(text: str, options: Mapping[str, str]) -> str | None:
    """Return the one option that is called right where others are called wrong.

    >>> by_verdict("A: no. B: yes. C: no.", {"A": "cat", "B": "dog", "C": "bird"})
    'B'
    """
    if any(bare(option) in _VERDICTS for option in options.values()):
        return None
    right: list[str] = []
    wrong: list[str] = []
    for letter, option in options.items():
        match = _verdict(letter, option).search(text) if letter in text else None
        if match:
            (right if match["yes"] else wrong).append(letter)
    return right[0] if len(right) == 1 and wrong else None


def by_yes_no(text: str, options: Mapping[str, str]) -> str | None:
    """Return the option `yes` or `no` if there are both and the text says one of them.

    >>> by_yes_no("There is no gap, so yes.", {"A": "Yes", "B": "No"})
    'A'
    """
    letters = {bare(option): letter for letter, option in options.items()}
    said = stated_yes_no(text) if "yes" in letters and "no" in letters else None
    return letters[said] if said else None


def without_texts(text: str, options: Mapping[str, str]) -> str:
    """Return the text without the texts of options: the A of `3 A` is no letter.

    >>> without_texts("It is 3 A or B", {"A": "3 A", "B": "5 A"})
    'It is   or B'
    """
    for option in options.values():
        if len(option.strip()) > 1 and any(map(str.isupper, option)):
            text = text.replace(option.strip(), " ")
    return text


def by_amount(text: str, options: Mapping[str, str]) -> str | None:
    """Return the one option that is the number which a sentence states.

    >>> by_amount("2 dogs and 10 cats, so 12 in total", {"A": "2", "B": "12"})
    'B'
    """
    amounts = {letter: read_amount(option) for letter, option in options.items()}
    stated = stated_amount(text) if amounts and all(amounts.values()) else None
    if stated is None:
        return None
    found = [
        letter
        for letter, amount in amounts.items()
        if amount
        and isclose(amount.value * amount.scale, stated.value * stated.scale, rel_tol=1e-9)
    ]
    return found[0] if len(found) == 1 else None


def refused(text: str, options: Mapping[str, str]) -> str | None:
    """Return the option that says there is no answer, if the text does; None without one.

    >>> refused("It cannot be determined", {"A": "yes", "C": "Cannot tell"})
    'C'
    """
    same = [letter for letter, option in options.items() if REFUSAL.search(option)]
    return same[0] if len(same) == 1 and REFUSAL.search(text) else None


def by_words(text: str, options: Mapping[str, str]) -> str | None:
    """Return the one option whose text occurs as whole words and is not negated.

    An option that is part of another one's text does not count. Of several, the one that the
    sentence begins with, or puts after `is`, counts if the others are not listed beside it.

    >>> options = {"A": "dog", "B": "cat", "C": "black cat"}
    >>> by_words("I see a black cat", options), by_words("a dog or a cat", options)
    ('C', None)
    >>> by_words("No dog. It is a cat.", options), by_words("It is a dog beside a cat", options)
    ('B', 'A')
    """
    conclusion = _SO.split(text)[-1]
    found = _by_words(conclusion, options) if conclusion != text else None
    return found or _by_words(text, options)


def _stem_each(words: list[str]) -> list[str]:
    """Return the stem of each word; a word that occurs often is looked at once."""
    known = {word: stems(word) for word in set(words)}
    return [known[word] for word in words]


def _by_words(text: str, options: Mapping[str, str]) -> str | None:
    text = without_negated(text)
    text = _SELECTION.sub("", text) if _CLAUSE.search(text) else text
    text = f" {bare(text)} "
    words, stemmed = text.split(), None
    places: dict[str, tuple[int, int]] = {}
    for letter, option in options.items():
        match = _find(bare(option), text)
        if match:
            places[letter] = match.span()
            continue
        stemmed = stemmed or _stem_each(words)
        place = _find_stems(stems(option).split(), stemmed, words)
        if place:
            places[letter] = place
    kept = {
        letter: place
        for letter, place in places.items()
        if not any(
            other[0] <= place[0] and place[1] <= other[1] and other != place
            for other in places.values()
        )
    }
    if len(kept) < 2:
        return next(iter(kept), None)
    right = [letter for letter, place in kept.items() if _CALLED_RIGHT.match(text, place[1])]
    if len(right) == 1:
        return right[0]
    first, second = sorted(kept, key=lambda letter: kept[letter])[:2]
    between = text[kept[first][1] : kept[second][0]]
    opens = _OPENING.match(text[: kept[first][0]])
    return first if opens and not _JOINED.fullmatch(between) else None


def by_value(text: str, options: Mapping[str, str]) -> str | None:
    r"""Return the one option that is the same number or formula in another notation.

    >>> by_value("6100", {"A": "2,100", "B": "6,100"})
    'B'
    >>> by_value("145^\\circ", {"A": "35°", "B": "145°"})
    'B'
    """
    for part in (text, answer_tail(text), text[-2 * _LONGEST_VALUE :].rpartition("=")[2].strip()):
        if not part or len(part) > _LONGEST_VALUE or not any(map(str.isdigit, part)):
            continue
        found = [
            letter
            for letter, option in options.items()
            if any(map(str.isdigit, option)) and same_expression(part, option)
        ]
        if len(found) == 1:
            return found[0]
    return None


def only(options: Mapping[str, str], fits: Callable[[str], bool]) -> str | None:
    """Return the letter of the one option whose text fits; None if none or several do."""
    found = [letter for letter, option in options.items() if fits(option)]
    return found[0] if len(found) == 1 else None


@kept
def _sorted(text: str) -> list[str]:
    return sorted(bare(text).split())


@kept
def _tight(text: str) -> str:
    """Return the text without spaces, with `10-20` for `from 10 to 20`."""
    text = bare(text)
    text = _SPAN.sub(r"\1-\2", text) if _JOINED_NUMBERS.search(text) else text
    return _TIGHT.sub("", text.replace("&", "and"))


def _find_stems(wanted: list[str], stemmed: list[str], words: list[str]) -> tuple[int, int] | None:
    """Return where the stems stand in a text of words with one space before each of them."""
    place = -1
    while wanted and wanted[0] in stemmed[place + 1 :]:
        place = stemmed.index(wanted[0], place + 1)
        if stemmed[place : place + len(wanted)] == wanted:
            start = sum(map(len, words[:place])) + place + 1
            return start, start + len(" ".join(words[place : place + len(wanted)]))
    return None


@lru_cache(maxsize=4096)
def _verdict(letter: str, option: str) -> re.Pattern[str]:
    own = f"(?i:{re.escape(option.strip())})?" if option.strip() else ""
    return re.compile(
        rf"(?<![A-Za-z0-9'])[(\[]?{letter}(?![A-Za-z0-9'])\s?(?:[)\].:]\s*)*{own}{_VERDICT}"
    )


@lru_cache(maxsize=4096)
def _label(letter: str, option: str) -> re.Pattern[str]:
    return re.compile(_LABEL.format(letter=letter, text=re.escape(bare(option))), re.IGNORECASE)


@lru_cache(maxsize=4096)
def _whole_words(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(words)}(?![\w]|\.\d)")


def _find(words: str, text: str) -> re.Match[str] | None:
    return _whole_words(words).search(text) if words and words in text else None
