"""Metrics of text: edit distance, word error rates, ANLS, ROUGE.

Edit distance and common subsequence run on bit vectors (one Python integer holds a column of the
table), so that a page of text costs a fraction of a millisecond.

`reading_accuracy` and `wording_similarity` take text in any script, whichever way its characters
are encoded: both sides are normalized (`readable`), and scripts that put no spaces between words
are compared character by character.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache

from g2rpo.scoring.stem import stem

_NOT_WORD = re.compile(r"[^a-z0-9]+")
_SHORTEST_STEMMED = 4
"""Letters. ROUGE leaves shorter words as they are (Lin 2004, the ROUGE-1.5.5 script)."""


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Return the fewest insertions, deletions and substitutions between two sequences.

    Myers 1999, A fast bit-vector algorithm for approximate string matching; for whole sequences:
    Hyyro 2003.

    >>> edit_distance("kitten", "sitting"), edit_distance(["a", "b"], [])
    (3, 2)
    """
    if not first:
        return len(second)
    places = _places(first)
    everywhere, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    up, down, distance = (
        everywhere,
        0,
        len(first),
    )  # vertical steps of +1 and -1 in the current column
    for item in second:
        match = places.get(item, 0)
        vertical = match | down
        horizontal = (((match & up) + up) ^ up) | match
        right = down | (everywhere & ~(horizontal | up))
        left = up & horizontal
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1) | 1, left << 1
        up = (left | ~(vertical | right)) & everywhere
        down = right & vertical & everywhere
    return distance


def common_subsequence(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequence.

    Hyyro 2004, Bit-parallel LCS-length computation revisited.

    >>> common_subsequence("nematode", "empty"), common_subsequence("abc", "")
    (3, 0)
    """
    places, everywhere = _places(first), (1 << len(first)) - 1
    unused = everywhere
    for item in second:
        match = unused & places.get(item, 0)
        unused = ((unused + match) | (unused - match)) & everywhere
    return len(first) - unused.bit_count()


def word_accuracy(answer: str, gold: str) -> float:
    """Return 1 - word error rate, at least 0.

    The rate is the edits between the words over the number of gold words; case and punctuation
    count.

    >>> word_accuracy("invoice No. 4821", "Invoice No. 4821 total")
    0.5
    >>> word_accuracy("STOP x y", "STOP")
    0.0
    """
    return _accuracy(answer.split(), gold.split())


def anls(answer: str, golds: Iterable[str], threshold: float = 0.5) -> float:
    """Return the average normalized Levenshtein similarity of one question (Biten et al. 2019).

    The best gold answer counts, and a similarity below `threshold` is 0. As in DocVQA, case and
    runs of whitespace do not count in the distance. It is divided by the longer raw length in
    capitals, where `ß` and ligatures are two letters, as VLMEvalKit does.

    >>> round(anls("ITC Limted", ["ITC Limited"]), 6), anls("ITC", ["ITC Limited"])
    (0.909091, 0.0)
    >>> anls("a  b", ["A b"])
    1.0
    """
    best = max((_similarity(answer, gold, threshold) for gold in golds), default=0.0)
    return best if best >= threshold else 0.0


def rouge(answer: str, gold: str) -> float:
    """Return the mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L over stemmed words (Lin 2004).

    >>> rouge("A red BUS.", "a red bus"), round(rouge("dogs play", "two dogs playing"), 6)
    (1.0, 0.755556)
    """
    got, wanted = _words(answer), _words(gold)
    longest = _f1(common_subsequence(wanted, got), len(got), len(wanted))
    return (_ngram_f1(got, wanted, 1) + _ngram_f1(got, wanted, 2) + longest) / 3


def _places(items: Sequence[Hashable]) -> dict[Hashable, int]:
    """Return the positions of every item, as bits."""
    places: dict[Hashable, int] = {}
    for position, item in enumerate(items):
        places[item] = places.get(item, 0) | (1 << position)
    return places


def _accuracy(answer: Sequence[Hashable], gold: Sequence[Hashable]) -> float:
    if len(answer) >= 2 * len(gold):  # at least as many insertions as gold items
        return float(not answer and not gold)
    return max(0.0, 1 - edit_distance(gold, answer) / len(gold))


def _similarity(answer: str, gold: str, threshold: float) -> float:
    """Return the similarity; 0 without counting edits if the lengths alone keep it too low."""
    longest = max(len(answer.upper()), len(gold.upper()))
    got, wanted = (" ".join(text.lower().split()) for text in (answer, gold))
    if longest and 1 - abs(len(got) - len(wanted)) / longest < threshold:
        return 0.0
    return 1 - edit_distance(wanted, got) / longest if longest else 1.0


def _words(text: str) -> list[str]:
    words = _NOT_WORD.sub(" ", text.lower()).split()
    return [stem(word) if len(word) >= _SHORTEST_STEMMED else word for word in words]


def _ngram_f1(got: list[str], wanted: list[str], size: int) -> float:
    first, second = (
        Counter(zip(*(words[i:] for i in range(size)), strict=False)) for words in (got, wanted)
    )
    return _f1((first & second).total(), first.total(), second.total())


def _f1(shared: int, got: int, wanted: int) -> float:
    """Return the harmonic mean of shared/got and shared/wanted."""
    return 2 * shared / (got + wanted) if shared else 0.0


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
    got, wanted = _words_of_any_script(answer), _words_of_any_script(gold)
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


def _words_of_any_script(text: str) -> list[str]:
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
