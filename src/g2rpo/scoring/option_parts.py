"""The option that shares words with an answer, or that the answer names by its place."""

import re
from collections.abc import Mapping

from g2rpo.scoring.guarded import Guarded
from g2rpo.scoring.kept import kept
from g2rpo.scoring.letters import stems
from g2rpo.scoring.option_words import only
from g2rpo.scoring.statement import without_negated

_STOP_WORD = re.compile(
    r"an?|the|is|are|was|were|it|they|them|these|those|this|that|of|in|on|at|to|for|and|both|all"
    r"|which|with|has|have|be",
    re.IGNORECASE,
)
"""Words that do not tell options apart."""
_ALL_OR_NONE = Guarded(
    r"\W*(none|neither|both|all)\b|.*\bso\s+(none|neither|both|all)\W*$",
    "none neither both all",
    re.IGNORECASE | re.DOTALL,
)
_DIGIT = re.compile(r"\d")
_LONGEST_PART = 6
"""Words of an answer that may be a part of an option's text."""
_PLACES = ("first", "second", "third", "fourth", "fifth")
_BY_PLACE = Guarded(
    rf"(?:.*\b(?:is|be)\s+)?(?:the\s+)?({'|'.join(_PLACES)}|last)\s+(?:option|choice|answer)\W*",
    "first second third fourth fifth last",
)


def by_place(text: str, options: Mapping[str, str]) -> str | None:
    """Return the option that the answer names by its place in the list.

    >>> by_place("It is the second option.", {"A": "cat", "B": "dog"})
    'B'
    """
    match = _BY_PLACE.fullmatch(text)
    letters = list(options)
    if match is None:
        return None
    place = len(letters) - 1 if match[1].lower() == "last" else _PLACES.index(match[1].lower())
    return letters[place] if place < len(letters) else None


def by_part(text: str, options: Mapping[str, str]) -> str | None:
    """Return the one option that shares all words that matter with a sentence.

    Either all words of a short answer are in the option, or all words of the option, which has no
    number, are in the sentence. `None of them` and `both` name the option that begins like this.

    >>> options = {"A": "Line A is longer", "B": "Line B is longer", "C": "They are equal"}
    >>> by_part("line A", options), by_part("Both lines are equal.", options)
    ('A', 'C')
    """
    kind = _kind(text)
    found = only(options, lambda option: _kind(option) == kind) if kind else None
    if found:
        return found
    text = without_negated(text)
    words = _content(text)
    if not words:
        return None
    short = len(text.split()) <= _LONGEST_PART
    return (_whose_part(words, options) if short else None) or only(
        options,
        lambda option: (
            not _DIGIT.search(option) and bool(_content(option)) and _content(option) <= words
        ),
    )


def _kind(text: str) -> str:
    """Return `none`, `both` or `all` if a text begins or ends with such a word; empty otherwise."""
    match = _ALL_OR_NONE.match(text)
    kind = (match[1] or match[2]).lower() if match else ""
    return "none" if kind == "neither" else kind


def _whose_part(words: frozenset[str], options: Mapping[str, str]) -> str | None:
    """Return the one option that has all the words; the rest of it must not matter.

    For a single word, what is missing must stand in other options as well, or the word must be its
    last one: `bin` is a trash bin, `kitchen` no kitchen island.
    """
    letter = only(options, lambda option: words <= _content(option))
    if letter is None or len(words) > 1:
        return letter
    others = frozenset().union(
        *(_content(option) for other, option in options.items() if other != letter)
    )
    last = _content(options[letter].split()[-1])
    return letter if _content(options[letter]) - words <= others or last <= words else None


@kept
def _content(text: str) -> frozenset[str]:
    """Return the stems of the words that tell options apart; a capital alone keeps its case."""
    words = text.split()
    # a long text repeats its words; its first one stands apart, because `A` may begin a sentence
    listed = [(word, False) for word in words[:1]] + [(word, True) for word in set(words[1:])]
    bare = [(word.strip(".,:;!?()[]\"'"), later) for word, later in listed]
    return frozenset(
        word if len(word) == 1 and word.isupper() else stems(word)
        for word, later in bare
        if word and ((word == "A" and later) or not _STOP_WORD.fullmatch(word))
    )
