"""Numbers in English words: `three`, `twenty-one`, `one hundred and five`."""

import re

from g2rpo.scoring.guarded import Guarded

_ONES, _TENS = (
    words.split()
    for words in (
        (
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
            " fifteen sixteen seventeen eighteen nineteen"
        ),
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
)
_VALUES = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * k for k, word in enumerate(_TENS, start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = re.compile(r"[A-Za-z]+")
_ANY = "|".join((*_VALUES, *_SCALES))
_PHRASE = Guarded(
    rf"(?<![\w\\])(?:{'|'.join(_VALUES)})(?:(?:[\s-]++(?:and\s++)?)(?:{_ANY}))*+(?!\w)",
    " ".join(_VALUES),
)
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
_SHARE = Guarded(rf"(?<![\w.])(\d{{1,3}})[\s-]++({'|'.join(_PARTS)})s?+(?!\w)", " ".join(_PARTS))
_SCALED = Guarded(rf"(\d)\s*+({'|'.join(_SCALES)})s?+(?!\w)", " ".join(_SCALES))


def with_digits(text: str) -> str:
    """Return the text with number words written in digits, and `12.5 million` as `12.5e6`.

    >>> with_digits("twenty-one cats"), with_digits("$12.5 million"), with_digits("three quarters")
    ('21 cats', '$12.5e6', '(3/4)')
    >>> with_digits("someone")
    'someone'
    """
    text = _PHRASE.sub(_in_digits, text)
    text = _SHARE.sub(lambda match: f"({match[1]}/{_PARTS[match[2].lower()]})", text)
    return _SCALED.sub(lambda match: f"{match[1]}e{len(str(_SCALES[match[2].lower()])) - 1}", text)


def _in_digits(match: re.Match[str]) -> str:
    value = spoken_number(match[0])
    return match[0] if value is None else str(value)


def spoken_number(text: str) -> int | None:
    """Return the number that English words say; None if another word is among them.

    >>> spoken_number("three"), spoken_number("Twenty-one"), spoken_number("one hundred and five")
    (3, 21, 105)
    >>> spoken_number("three cats")
    """
    if len(text) > 100 or not set(text) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ -"
    ):
        return None
    words = [word for word in _WORDS.findall(text.lower())]
    if not words or words[0] == "and" or words[-1] == "and" or words[0] in _SCALES:
        return None
    total, group, last = 0, 0, 10**15
    for word in words:
        if word == "and":
            continue
        if word in _VALUES:
            value = _VALUES[word]
            if group % 100 and not (group % 10 == 0 and group % 100 >= 20 and 0 < value < 10):
                return None  # "two three" is a list
            group += value
        elif word == "hundred":
            group *= 100
        elif word in _SCALES and _SCALES[word] < last:
            total, group, last = total + group * _SCALES[word], 0, _SCALES[word]
        else:
            return None
    return total + group
