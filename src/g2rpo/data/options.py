"""Options of a multiple-choice question: lists, objects, or lines of the question."""

import json
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from g2rpo.data.rows import BadRecord, read_json

LABELS = ("label", "letter", "key", "id", "option")
TEXTS = ("text", "content", "value", "option")
"""Keys of an option that is an object of its own."""
_LABEL = re.compile(r"\s*(?:\(([A-Za-z])\)\s*|([A-Za-z])\s*[.):\uff1a\u3001]\s*)")
_LINE_LABEL = re.compile(r"(?m)^[ \t*]*(?:\(([A-Za-z])\)|([A-Za-z])[ \t]*[.):\uff1a\u3001])[ \t*]*")
_INLINE_LABEL = re.compile(r"(?<!\S)(?:\(([A-Za-z])\)[ \t]*|([A-Z])[.:)][ \t]+)")
_FEWEST = 2
"""Labels in a question that make a list of options."""


class Options(NamedTuple):
    """Options as lines below the question, and as text by letter."""

    lines: tuple[str, ...]
    """As the model reads them, one a line: `A. red`."""
    texts: dict[str, str]
    """Capital letter to the text of its option."""


def read_options(found: Any) -> Options:
    """Read the `options` of a record.

    Args:
        found: Nothing; a list of texts, with letters before them or without; a list of objects with
            a label and a text; an object with the letters as keys, or with two lists `label` and
            `text`; or one of these as JSON, or as lines in one text.

    Raises:
        BadRecord: When it is anything else, or a letter occurs twice.
    """
    if isinstance(found, str):
        found = _from_text(found)
    if isinstance(found, Mapping):
        return _from_mapping(found)
    if not found:
        return Options((), {})
    if not isinstance(found, list | tuple):
        raise BadRecord(f"options: expected a list or an object, got {str(found)[:100]!r}")
    entries = [entry for entry in found if entry is not None]
    if entries and all(isinstance(entry, Mapping) for entry in entries):
        return _lettered([_label_and_text(entry) for entry in entries])
    if any(isinstance(entry, Mapping | list | tuple) for entry in entries):
        raise BadRecord(
            f"options: expected texts, or objects with {LABELS[0]!r} and {TEXTS[0]!r}, got"
            f" {str(found)[:200]}"
        )
    return _from_list([_plain(entry) for entry in entries])


def options_in(question: str) -> dict[str, str]:
    r"""Find the options that the question itself lists, on separate lines or in one line.

    Return letter to text; empty if the question lists none.

    >>> options_in("Which?\nA. red\nB. blue"), options_in("Which? (A) 3 (B) 4")
    ({'A': 'red', 'B': 'blue'}, {'A': '3', 'B': '4'})
    >>> options_in("Is A: here?")
    {}
    """
    for pattern in (_LINE_LABEL, _INLINE_LABEL):
        run = _last_run(
            [(_letter(match), match.start(), match.end()) for match in pattern.finditer(question)]
        )
        if len(run) >= _FEWEST:
            starts = [start for _, start, _ in run[1:]]
            texts = [
                question[end:start]
                for (_, _, end), start in zip(run, [*starts, len(question)], strict=True)
            ]
            # what follows the last option is not part of it: an instruction on the next line, or
            # the next sentence
            texts[-1] = texts[-1].strip().partition("\n")[0]
            return {
                letter: text.strip(" \t\r\n,;*")
                for (letter, _, _), text in zip(run, texts, strict=True)
            }
    return {}


def gold_letters(answer: str, texts: Mapping[str, str]) -> str | None:
    """Return the letters that a gold answer names by label, labels or the text of an option.

    Args:
        answer: `B`, `(b)`, `B. blue`, `blue`, `A, C`.
        texts: Capital letter to the text of its option; empty where the options stand in the image
            alone.

    Returns:
        Capital letters, or None when the answer names no option.

    >>> answers = ("(b)", "B. blue", "Blue", "B, A", "C", "green")
    >>> [gold_letters(answer, {"A": "red", "B": "blue"}) for answer in answers]
    ['B', 'B', 'B', 'BA', None, None]
    """
    bare = re.sub(r"[().,;:/&\s]|\band\b", "", answer)
    known = texts or dict.fromkeys(ascii_uppercase)
    if (
        len(set(bare)) == len(bare)
        and (len(bare) == 1 or bare.isupper())
        and set(bare.upper()) <= set(known)
    ):
        return bare.upper()
    same = [letter for letter, text in texts.items() if _words(text) == _words(answer)]
    if len(same) == 1:
        return same[0]
    label = _LABEL.match(answer)
    return _letter(label) if label and _letter(label) in known else None


def _last_run(labels: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The labels from the last A on that follow each other as letters do: A, B, C, ..."""
    run: list[tuple[str, int, int]] = []
    letters = [letter for letter, _, _ in labels]
    second = next((place for place in reversed(range(len(labels))) if letters[place] == "B"), 0)
    begin = next((place for place in reversed(range(second)) if letters[place] == "A"), None)
    for label in [] if begin is None else labels[begin:]:
        if label[0] == ascii_uppercase[len(run) % 26]:
            run.append(label)
    return run


def _letter(match: re.Match[str]) -> str:
    return (match[1] or match[2]).upper()


def _from_text(found: str) -> Any:
    """A list or object from JSON; else the options that the text lists, or its lines."""
    text = found.strip()
    if text[:1] in ("[", "{"):
        try:
            return read_json(text)
        except ValueError:
            raise BadRecord(
                f"options: expected JSON or one option a line, got {text[:100]!r}"
            ) from None
    return options_in(text) or [line for line in text.splitlines() if line.strip()]


def _from_mapping(found: Mapping[str, Any]) -> Options:
    lists = {
        str(name).lower(): value for name, value in found.items() if isinstance(value, list | tuple)
    }
    # {"label": ["A", "B"], "text": ["red", "blue"]}, as a column of structs comes from a data set
    if lists:
        labels, texts = (
            next((lists[name] for name in names if name in lists), None)
            for names in (LABELS, TEXTS)
        )
        if labels is None or texts is None or len(labels) != len(texts):
            raise BadRecord(
                f"options: expected lists 'label' and 'text' of one length, got {str(found)[:200]}"
            )
        return _lettered(
            [(str(label), _plain(text)) for label, text in zip(labels, texts, strict=True)]
        )
    return _lettered(
        [(str(label), _plain(text)) for label, text in found.items() if text is not None]
    )


def _label_and_text(entry: Mapping[str, Any]) -> tuple[str, str]:
    label = next((entry[name] for name in LABELS if entry.get(name) is not None), None)
    text = next((entry[name] for name in TEXTS if entry.get(name) is not None), None)
    if label is None and text is None and len(entry) == 1:  # [{"A": "red"}, {"B": "blue"}]
        ((label, text),) = entry.items()
    if label is None or text is None:
        raise BadRecord(
            f"options: expected objects with {LABELS[0]!r} and {TEXTS[0]!r}, got"
            f" {str(dict(entry))[:200]}"
        )
    return str(label), _plain(text)


def _lettered(pairs: Sequence[tuple[str, str]]) -> Options:
    texts: dict[str, str] = {}
    for label, text in pairs:
        letter = label.strip(" ().:").upper()
        if len(letter) != 1 or letter not in ascii_uppercase:
            raise BadRecord(f"options: expected a letter as label, got {label!r}")
        if letter in texts:
            raise BadRecord(f"options: the letter {letter} occurs twice")
        texts[letter] = text
    return Options(tuple(f"{letter}. {text}" for letter, text in texts.items()), texts)


def _from_list(entries: Sequence[str]) -> Options:
    """Texts with letters before them, among which real data has stray entries such as "-"; or plain
    texts, which get letters.
    """
    labeled = [(match, entry) for entry in entries if (match := _LABEL.match(entry))]
    letters = [_letter(match) for match, _ in labeled]
    # "E. coli" and "S. aureus" begin like labels, and are none: labels begin with A, go up, and
    # most entries have one
    if (
        letters
        and letters == sorted(set(letters))
        and letters[0] == "A"
        and 2 * len(letters) >= len(entries)
    ):
        lines = tuple(
            (
                entry
                if (match[1] or match[2]).isupper()
                else f"{_letter(match)}. {entry[match.end() :]}"
            )
            for match, entry in labeled
        )
        return Options(
            lines, {_letter(match): entry[match.end() :].strip() for match, entry in labeled}
        )
    plain = [entry for entry in entries if entry.strip()]
    if sorted(plain) == list(
        ascii_uppercase[: len(plain)]
    ):  # letters alone, whose texts stand in the image
        return Options(tuple(plain), {letter: letter for letter in plain})
    if len(plain) > len(ascii_uppercase):
        raise BadRecord(f"options: expected at most {len(ascii_uppercase)}, got {len(plain)}")
    return _lettered(list(zip(ascii_uppercase, plain, strict=False)))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _words(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")
