"""A number among words: it counts only if it is the only one, and no word changes it."""

from collections.abc import Sequence
from dataclasses import replace

from g2rpo.scoring.expression.forms import EVERYTHING, Form, Words
from g2rpo.scoring.expression.reader import read_form
from g2rpo.scoring.expression.signs import word_set
from g2rpo.scoring.expression.tokens import Token, is_product
from g2rpo.scoring.expression.units import is_unit
from g2rpo.scoring.expression.value import Unreadable

_EQUALS = word_set("is are equals equal was be been")
_NEGATIVE = word_set("minus negative")
_CHANGES = word_set(
    """not no never neither nor isn aren wasn doesn don didn cannot can without except unless if
    until least most more less than greater fewer larger smaller bigger exceeds approaches
    half halves double twice thrice triple plus squared cubed root roots divided multiplied
    factorial log logarithm reciprocal inverse opposite modulo mod remainder hundred thousand
    million billion trillion dozen wrong incorrect false unknown either maybe perhaps possibly
    undetermined indeterminate infinitely ago"""
)
"""Words that change the number beside them, or that take it back."""
_CHANGES_NEXT = word_set(
    """of from to out up over under above below between through down square cube third thirds
    quarter quarters fourth fourths times power"""
)
"""Words that change the number they stand before, if nothing such as `is` or a colon separates
them.
"""
_CHANGES_ELSEWHERE = frozenset("不非或至到否约")
_EDGES = word_set(", . ; : ! ? ' ( ) & =")


def read_text(tokens: Sequence[Token]) -> Form:
    """Return the form of an answer that may have words around it.

    Raises:
        Unreadable: several expressions stand among the words, or a word changes what one means.
    """
    chunks: list[list[Token]] = [[]]
    words: list[str] = []
    tokens = _with_signs(tokens)
    for token in tokens:
        if (
            token.kind == "word"
            and not is_product(token.text)
            and not _is_counted(chunks[-1], token.text)
        ):
            words.append(token.text.lower())
            if chunks[-1]:
                chunks.append([])
        else:
            chunks[-1].append(token)
    if not words:
        return read_form(tokens)
    found = [trimmed for chunk in chunks if (trimmed := _trimmed(chunk))]
    if " ".join(words[-3:]) in ("all real numbers", "all reals"):
        return EVERYTHING
    if not found:
        return Words(" ".join(words))
    if len(found) > 1:  # `the distance from A to B is 5`
        found = [
            chunk for chunk in found if not all(token.kind in ("symbol", "word") for token in chunk)
        ]
    if len(found) != 1:
        raise Unreadable("several expressions among words")
    if any(word in _CHANGES or set(word) & _CHANGES_ELSEWHERE for word in words) or _changed(
        tokens, found[0]
    ):
        raise Unreadable("a word changes the number")
    return read_form(found[0])


def _has_value(chunk: list[Token]) -> bool:
    return any(
        token.kind == "number" or token.text in (r"\pi", r"\infty", ")", "}") for token in chunk
    )


def _changed(tokens: Sequence[Token], chunk: list[Token]) -> bool:
    """Return whether a word before an expression changes it, as in `up to 5`."""
    if any(token.text == "=" for token in chunk):
        return False
    place = next(k for k, token in enumerate(tokens) if token is chunk[0]) - 1
    while place >= 0 and tokens[place].text not in ("=", ":"):
        if tokens[place].kind == "word" and tokens[place].text.lower() in _CHANGES_NEXT:
            return True
        place -= 1
    return False


def _with_signs(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens with `is` as `=` and `minus 3` as `-3`, without articles."""
    result: list[Token] = []
    for place, token in enumerate(tokens):
        lower = token.text.lower()
        following = tokens[place + 1] if place + 1 < len(tokens) else None
        if token.kind == "word" and lower in _EQUALS:
            result.append(replace(token, kind="sign", text="="))
        elif (
            token.kind == "word"
            and lower in _NEGATIVE
            and following is not None
            and following.kind == "number"
        ):
            result.append(replace(token, kind="sign", text="-"))
        elif (
            token.text in ("a", "A", "I") and token.kind == "symbol" and _beside_word(tokens, place)
        ):
            continue
        else:
            result.append(token)
    return result


def _beside_word(tokens: Sequence[Token], place: int) -> bool:
    near = [tokens[k] for k in (place - 1, place + 1) if 0 <= k < len(tokens)]
    return any(
        token.kind == "word" and not is_product(token.text) and not is_unit(token.text)
        for token in near
    )


def _is_counted(chunk: list[Token], word: str) -> bool:
    """Return whether a word is the unit of the expression before it."""
    return (
        bool(chunk)
        and is_unit(word)
        and _has_value(chunk)
        and chunk[-1].text not in ("(", ",", ".", ";", ":", "=")
    )


def _trimmed(chunk: list[Token]) -> list[Token]:
    start, end = 0, len(chunk)
    while start < end and chunk[start].text in _EDGES - {"("}:
        start += 1
    while start < end and chunk[end - 1].text in _EDGES - {")", "!"}:
        end -= 1
    kept = chunk[start:end]
    brackets = [token.text for token in kept]
    while brackets.count("(") > brackets.count(")") and (brackets[0] == "(" or brackets[-1] == "("):
        kept = kept[1:] if brackets[0] == "(" else kept[:-1]
        brackets = [token.text for token in kept]
    return kept if any(token.text not in _EDGES | {")", "{", "}"} for token in kept) else []
