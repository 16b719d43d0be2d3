"""Which option of a multiple-choice question a text names: by VLMEvalKit's rules, and by ours."""

import re
from collections.abc import Iterable, Mapping

from g2rpo.scoring.expression import same_expression
from g2rpo.scoring.letters import bare, labeled_option, letters_of_text
from g2rpo.scoring.prediction import plain

REFUSAL = "Z"
"""What VLMEvalKit reads in a text that names none of the options on purpose."""
FAILED = "Failed to obtain answer via API"
"""How VLMEvalKit's judges say that they could not answer."""
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_PUNCTUATION = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"(?:correct )?answer is \**([ABCD])\**", re.IGNORECASE)

_LONGEST_VALUE = 80
_HEAD, _TAIL = 200, 2000
"""Characters read at either end of a long text, where an answer stands."""
_ALONE = re.compile(r"\W*(?:(?:option|choice|answer)\W+)?([A-Za-z])\W*", re.IGNORECASE)
_LABEL = re.compile(
    r"\W*?(?:(?i:option|choice)\s+)?(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\s?[.):,\]]|([B-HJ-Z])\s*-)(?=\s|$)"
)
_PHRASE = re.compile(
    r"\b(?:answers?|options?|choices?|choose|chose|select|pick)\b(?:\s++(?:is|are|was|be|would|should|will|must|the|option|choice|letter|answer)\b)*+"
    r"\s*+[:=]?\s*[(\[]?\s?([A-Za-z])(?![A-Za-z0-9'])([)\]]|\s*[.,:;!?)\]]|\s*$|\s*\n)?",
    re.IGNORECASE,
)
_IS_CORRECT = re.compile(
    r"(?<![A-Za-z0-9])\(?([A-Z])\)?\s+is\s+(?:the\s+)?(?:correct|right|best|true)\b"
)
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9'∠])"
    r"(?:([B-HJ-Z])(?![A-Za-z0-9'])|([AI])(?![A-Za-z0-9'])(?!\s+(?!(?:or|and|nor|is|because|since|as|but)\b)[a-z]))"
    r"(?!\)?\s+(?:is|are|was)\s+(?:wrong|incorrect|false|not|impossible)\b)"
    r"(?!\)?\s*:\s*(?:no|not|wrong|incorrect|false)\b)"
)
"""A letter on its own that is no article (`A dog`) and not ruled out (`A is wrong`)."""
_RULED_OUT = re.compile(
    r"(?:\b(?:not|never|neither|nor|except|exclud\w*|eliminat\w*|rul\w* out|cannot"
    r" be|company|angle|point|line|segment|figure)"
    r"|n't(?: be)?)\s+(?:(?:be|the|option|choice|answer)\s+)*[(\[]?$",
    re.IGNORECASE,
)
"""What stands before a letter that is not the answer: a negation, or the name of some other thing.
"""
_ALSO = re.compile(
    r"[)\].]?\s*(?:,|/|&|;|\bor\b|\band\b|,\s*or\b|,\s*and\b)\s*(?:option\s+)?[(\[]?([A-Z])(?![A-Za-z0-9'])"
)
_BEFORE = re.compile(r"(?<![A-Za-z0-9'])([A-Z])[)\].]?\s*(?:,|/|&|\bor\b|\band\b)\s*$")
_IS_WRONG = re.compile(
    r"[)\]]?\s+(?:is|are|was)\s+(?:\w+\s+)?(?:wrong|incorrect|false|not|impossible|out)\b",
    re.IGNORECASE,
)
_NEXT_QUESTION = re.compile(r"(?<=\S)\s*\n\s*Question\s*:")
"""Where a model begins to write the next problem."""
_SO = re.compile(r"\b(?:so|hence|thus|therefore|finally)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"\n+|(?<=[.!?;])\s+")


def lettered(texts: Iterable[object]) -> dict[str, str]:
    """Return the options by letter.

    >>> lettered(["cat", 12])
    {'A': 'cat', 'B': '12'}
    """
    return {chr(ord("A") + place): str(text) for place, text in enumerate(texts)}


def infer_option(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that VLMEvalKit's exact matching reads, `Z` for a refusal, else None.

    A letter counts as a word of its own, in upper case, among the last four words, and only if no
    other option's letter is there; otherwise `answer is` and a letter from A to D; otherwise the
    one option whose text occurs.

    >>> options = {"A": "teddy bear", "B": "rabbit"}
    >>> infer_option("It is (B).", options), infer_option("A or B", options)
    ('B', None)
    >>> infer_option("Rabbit", options)
    'B'
    """
    if FAILED in text:
        return None
    if any(refusal in text for refusal in _REFUSALS):
        return REFUSAL
    words = text.translate(_PUNCTUATION).split()
    present = [letter for letter in options if letter in words]
    if len(present) == 1 and words.index(present[0]) > len(words) - 5:
        return present[0]
    if not present and REFUSAL in words:
        return REFUSAL
    phrase = _ANSWER_IS.search(text)
    if phrase and phrase[1].upper() in options:
        return phrase[1].upper()
    return _by_text(text.lower(), {letter: option.lower() for letter, option in options.items()})


def _by_text(text: str, options: Mapping[str, str]) -> str | None:
    if len(text) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, option in options.items() if option in text]
    return found[0] if len(found) == 1 else None


def read_option(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the one option that a cleaned answer names; else None.

    In this order: the letter alone, in either case; the text of an option and nothing else; the
    last `answer is (B)` or `option B`; a label at the start (`B. rabbit`); the one letter that
    stands alone in the text, or in its last sentence; the one option whose text occurs as whole
    words. An option that is part of another one's text does not count.

    >>> options = {"A": "1", "B": "2", "C": "12", "D": "a dog"}
    >>> texts = "c", "12", "**(B)**", "The answer is a dog", "A or B", "not C. So the answer is B"
    >>> [read_option(text, options) for text in texts]
    ['C', 'C', 'B', 'D', None, 'B']
    """
    if text in options:
        return text
    text = plain(text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}")
    following = _NEXT_QUESTION.search(text)
    text = text[: following.start()] if following else text
    alone = _ALONE.fullmatch(text)
    if alone and alone[1].upper() in options:
        return alone[1].upper()
    exact = letters_of_text(text, options)
    if exact:
        return next(iter(exact))
    labeled = labeled_option(text, options)
    if labeled is not None:
        return labeled
    phrase = _by_phrase(text, options)
    if phrase is not None:
        return phrase or None
    return (
        _by_label(text, options)
        or _by_token(text, options)
        or _by_words(text, options)
        or _by_value(text, options)
    )


def _by_phrase(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter after the last `answer is`; None if there is no such phrase.

    It is empty if several letters follow.
    """
    found = None
    for match in _PHRASE.finditer(text):
        letter = match[1].upper()
        # `answer is a dog`: a small letter, or the article A, must be closed by something
        closed = match[2] is not None or (match[1].isupper() and letter not in "AI")
        if letter in options and closed and not _is_ruled_out(text, match.start(1), match.end(1)):
            others = {
                also[1]
                for also in (
                    _ALSO.match(text, match.end(1)),
                    _BEFORE.search(text[max(0, match.start() - 12) : match.start()]),
                )
                if also
            }
            found = "" if others & set(options) - {letter} else letter
    if found is None:
        correct = [match[1] for match in _IS_CORRECT.finditer(text) if match[1] in options]
        found = correct[-1] if correct else None
    return found


def _is_ruled_out(text: str, start: int, end: int) -> bool:
    """Return whether the letter at [start, end) is named only to be rejected."""
    return bool(_IS_WRONG.match(text, end) or _RULED_OUT.search(text[max(0, start - 40) : start]))


def _by_label(text: str, options: Mapping[str, str]) -> str | None:
    match = _LABEL.match(text)
    if match is None:
        return None
    letter = next(group for group in match.groups() if group).upper()
    # a list of all options, or a second label further on, is no answer yet
    return (
        letter if letter in options and _tokens(text[match.end() :], options) <= {letter} else None
    )


def _by_token(text: str, options: Mapping[str, str]) -> str | None:
    sentence = _SENTENCE.split(text.strip())[-1]
    for part in (text, sentence, _SO.split(sentence)[-1]):
        found = _tokens(part, options)
        if len(found) == 1:
            return found.pop()
    return None


def _tokens(text: str, options: Mapping[str, str]) -> set[str]:
    """Return the option letters that stand alone in a text and are not ruled out there."""
    return {
        letter
        for match in _TOKEN.finditer(text)
        if (letter := match[1] or match[2]) in options
        and not _is_ruled_out(text, match.start(), match.end())
    }


def _by_words(text: str, options: Mapping[str, str]) -> str | None:
    text = f" {bare(text)} "
    found = {
        letter: bare(option)
        for letter, option in options.items()
        if bare(option) and _occurs(bare(option), text)
    }
    longest = [
        letter
        for letter, option in found.items()
        if not any(option != other and _occurs(option, f" {other} ") for other in found.values())
    ]
    return longest[0] if len(longest) == 1 else None


def _by_value(text: str, options: Mapping[str, str]) -> str | None:
    """Return the one option that is the same number or formula in another notation."""
    if len(text) > _LONGEST_VALUE or not any(sign.isdigit() for sign in text):
        return None
    found = [
        letter
        for letter, option in options.items()
        if any(map(str.isdigit, option)) and same_expression(text, option)
    ]
    return found[0] if len(found) == 1 else None


def _occurs(words: str, text: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(words)}(?![\w]|\.\d)", text) is not None
