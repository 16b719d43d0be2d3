"""The option whose text, and not whose letter, an answer states."""

import re
from collections.abc import Mapping
from functools import lru_cache
from math import isclose

from g2rpo.scoring.amounts import read_amount, stated_amount
from g2rpo.scoring.expression import same_expression
from g2rpo.scoring.letters import bare, letters_of_text, stems
from g2rpo.scoring.statement import REFUSAL, answer_tail, without_negated
from g2rpo.scoring.yes_no import stated_yes_no

_LONGEST_VALUE = 80
_LABEL = r"(?<![A-Za-z0-9'])[(\[]?{letter}\s?(?:[)\].:,\-–]\s*)+(?:the\s+)?{text}(?!\w|\.\d)"
_JOINED = re.compile(r"\W*(?:,|/|\band\b|\bor\b)?\W*(?:(?:a|an|the)\s+)?$", re.IGNORECASE)
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
    found = [
        letter
        for letter, option in options.items()
        if letter in text and option.strip() and _label(letter, option).search(line)
    ]
    return found[0] if len(found) == 1 else None


def by_text(text: str, options: Mapping[str, str]) -> str | None:
    """Return the option whose text the answer is, or states after `the answer is`.

    >>> by_text("The answer is vitamin A.", {"A": "vitamin C", "C": "vitamin A"})
    'C'
    """
    for part in (text, answer_tail(text)):
        found = letters_of_text(part, options) if part else frozenset()
        if found:
            return next(iter(found))
    words = sorted(bare(text).split())
    same = [letter for letter, option in options.items() if sorted(bare(option).split()) == words]
    return same[0] if len(same) == 1 else None


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
    text = f" {bare(without_negated(text))} "
    places: dict[str, tuple[int, int]] = {}
    for letter, option in options.items():
        match = _find(bare(option), text) or _find(stems(option), text)
        if match:
            places[letter] = match.span()
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
    for part in (text, answer_tail(text)):
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


@lru_cache(maxsize=4096)
def _label(letter: str, option: str) -> re.Pattern[str]:
    return re.compile(_LABEL.format(letter=letter, text=re.escape(bare(option))), re.IGNORECASE)


@lru_cache(maxsize=4096)
def _whole_words(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(words)}(?![\w]|\.\d)")


def _find(words: str, text: str) -> re.Match[str] | None:
    return _whole_words(words).search(text) if words and words in text else None
