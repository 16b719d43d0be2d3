"""Word stems by Porter's algorithm (Porter 1980), with NLTK's revisions.

ROUGE counts `playing` and `plays` as one word. NLTK's revisions are followed because the ROUGE
package in common use stems with them: a list of irregular words, `ied` and `ies`, `fulli` and
`logi`, a gentler `y` -> `i`.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise

Rule = tuple[str, str]
_IRREGULAR = {
    "skies": "sky",
    "sky": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
}
_IRREGULAR |= {"innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing"}
_IRREGULAR |= {"cannings": "canning", "canning": "canning", "howe": "howe"}
_IRREGULAR |= {"proceed": "proceed", "exceed": "exceed", "succeed": "succeed"}


def _rules(text: str) -> tuple[Rule, ...]:
    """Return the rules in a text: `ational:ate ful:` is (("ational", "ate"), ("ful", "")).

    The first suffix that fits decides.
    """
    return tuple((suffix, new) for suffix, _, new in (rule.partition(":") for rule in text.split()))


_STEP_2 = _rules(
    "ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous"
    " ization:ize ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al"
    " iviti:ive biliti:ble fulli:ful"
)
_STEP_3 = _rules("icate:ic ative: alize:al iciti:ic ical:ic ful: ness:")
_STEP_4 = _rules(
    "al: ance: ence: er: ic: able: ible: ant: ement: ment: ent: ion: ou: ism: ate: iti: ous: ive:"
    " ize:"
)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return the stem of a lower-case word.

    >>> stem("playing"), stem("relational"), stem("skies"), stem("hopping"), stem("generously")
    ('play', 'relat', 'sky', 'hop', 'gener')
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    for step in (_plural, _past, _final_y, _double_suffix, _derived, _last_suffix, _final_e):
        word = step(word)
    return word


def _consonants(word: str) -> list[bool]:
    """Return for every letter whether it is a consonant.

    `y` is one at the start and after a vowel.
    """
    flags: list[bool] = []
    for letter in word:
        flags.append(letter not in "aeiou" and (letter != "y" or not flags or not flags[-1]))
    return flags


def _measure(word: str) -> int:
    """Return Porter's m: how often a vowel is followed by a consonant."""
    flags = _consonants(word)
    return sum(not before and after for before, after in pairwise(flags))


def _has_vowel(word: str) -> bool:
    return not all(_consonants(word))


def _ends_double(word: str) -> bool:
    return len(word) >= 2 and word[-1] == word[-2] and _consonants(word)[-1]


def _ends_short(word: str) -> bool:
    """Return whether a word ends on consonant, vowel, consonant other than w, x, y.

    A word of one vowel and one consonant counts as well.
    """
    flags = _consonants(word)
    if len(word) >= 3:
        return flags[-3:] == [True, False, True] and word[-1] not in "wxy"
    return flags == [False, True]


def _replace(word: str, rules: Iterable[Rule], condition: Callable[[str], bool]) -> str:
    for suffix, new in rules:
        if word.endswith(suffix):
            kept = word.removesuffix(suffix)
            return kept + new if condition(kept) else word
    return word


def _plural(word: str) -> str:
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    return _replace(word, _rules("sses:ss ies:i ss:ss s:"), lambda kept: True)


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    kept = next(
        (word.removesuffix(suffix) for suffix in ("ed", "ing") if word.endswith(suffix)), word
    )
    if kept == word or not _has_vowel(kept):
        return word
    if kept.endswith(("at", "bl", "iz")):
        return kept + "e"
    if _ends_double(kept):
        return kept if kept[-1] in "lsz" else kept[:-1]
    return kept + "e" if _measure(kept) == 1 and _ends_short(kept) else kept


def _final_y(word: str) -> str:
    kept = word[:-1]
    return kept + "i" if word.endswith("y") and len(kept) > 1 and _consonants(kept)[-1] else word


def _double_suffix(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _double_suffix(word[:-2])
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replace(word, _STEP_2, lambda kept: _measure(kept) > 0)


def _derived(word: str) -> str:
    return _replace(word, _STEP_3, lambda kept: _measure(kept) > 0)


def _last_suffix(word: str) -> str:
    ion = word.endswith("ion")
    return _replace(
        word, _STEP_4, lambda kept: _measure(kept) > 1 and (not ion or kept.endswith(("s", "t")))
    )


def _final_e(word: str) -> str:
    if word.endswith("e"):
        kept = word[:-1]
        measure = _measure(kept)
        word = kept if measure > 1 or (measure == 1 and not _ends_short(kept)) else word
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
