"""Metrics of text in any script, whichever way its characters are encoded.

Both sides are normalized (`readable`). Scripts that put no spaces between words are compared
character by character.
"""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from g2rpo.scoring.stem import stem
from g2rpo.scoring.text import common_subsequence, edit_distance

LONGEST = 100_000
"""Characters read of an answer."""
_SAME = {
    **dict.fromkeys("“”„‟«»″〝〞＂", '"'),
    **dict.fromkeys("‘’‚‛′`´", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
}
_PLAIN = str.maketrans(_SAME)
_SPACELESS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uaa60-\uaa7f\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003134f"
)
"""Thai, Lao, Burmese, Khmer, Chinese and Japanese."""
_HAS_SPACELESS = re.compile(f"[{_SPACELESS}]")
_ITEM = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_DRESSING = "\"'*`_ \t\r\n"
_SHORTEST_STEMMED = 4


@lru_cache(maxsize=4096)
def readable(text: str) -> str:
    """Return the text in NFKC, with plain ligatures, quotes, dashes and accents.

    Invisible characters are removed.

    >>> readable("ﬁne “o\ufb03ce” – cafe\u0301")
    'fine "office" - café'
    """
    text = text.translate(_PLAIN)
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_PLAIN)


def reading_accuracy(answer: str, gold: str) -> float:
    r"""Return 1 - word error rate, at least 0.

    Quotes or emphasis around the whole answer do not count. If the gold text is in a script without
    spaces, it is 1 - the edits between the characters over the longer text.

    >>> reading_accuracy("STOP  \n here", "STOP HERE"), reading_accuracy("“Open”", '"Open"')
    (0.5, 1.0)
    >>> reading_accuracy("今日は晴れ", "今日は雨")
    0.6
    """
    answer, gold = readable(answer[:LONGEST]).strip(), readable(gold).strip()
    best = _item_accuracy(answer, gold)
    bare = answer.strip(_DRESSING)
    return best if best == 1 or bare == answer else max(best, _item_accuracy(bare, gold))


def wording_similarity(answer: str, gold: str) -> float:
    """Return the mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L in any script.

    ROUGE-2 is left out if the gold answer is a single word. English words are stemmed. A gold
    answer without letters and digits is compared as it is.

    >>> wording_similarity("a RED bus.", "A red bus"), wording_similarity("Да", "да")
    (1.0, 1.0)
    >>> wording_similarity("5", "5")
    1.0
    """
    answer, gold = readable(answer[:LONGEST]).casefold(), readable(gold).casefold()
    got, wanted = _words(answer), _words(gold)
    if not wanted:
        return float("".join(answer.split()) == "".join(gold.split()))
    if got == wanted:
        return 1.0
    parts = [_ngram_f1(got, wanted, 1), _f1(common_subsequence(wanted, got), len(got), len(wanted))]
    if len(wanted) > 1:
        parts.append(_ngram_f1(got, wanted, 2))
    return sum(parts) / len(parts)


def _item_accuracy(answer: str, gold: str) -> float:
    if answer == gold:
        return 1.0
    got, wanted = _ITEM.findall(answer), _ITEM.findall(gold)
    if not got or not wanted:
        return float(not got and not wanted)
    length = max(len(got), len(wanted)) if _HAS_SPACELESS.search(gold) else len(wanted)
    if abs(len(got) - len(wanted)) >= length:  # at least as many edits as items
        return 0.0
    return max(0.0, 1 - edit_distance(wanted, got) / length)


def _words(text: str) -> list[str]:
    if text.isascii():
        words = _ASCII_WORD.findall(text)
    else:  # marks such as the vowel signs of Hindi belong to their word
        kept = "".join(
            sign if sign.isalnum() or unicodedata.category(sign)[0] == "M" else " " for sign in text
        )
        words = _ITEM.findall(kept)
    return [
        stem(word) if len(word) >= _SHORTEST_STEMMED and word.isascii() else word for word in words
    ]


def _ngram_f1(got: list[str], wanted: list[str], size: int) -> float:
    first, second = (
        Counter(zip(*(words[i:] for i in range(size)), strict=False)) for words in (got, wanted)
    )
    return _f1((first & second).total(), first.total(), second.total())


def _f1(shared: int, got: int, wanted: int) -> float:
    return 2 * shared / (got + wanted) if shared else 0.0
