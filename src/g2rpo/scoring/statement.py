"""What a sentence states, and what it only mentions: refusals, hedges, negations, remarks."""

import re
from functools import lru_cache

from g2rpo.scoring.guarded import Guarded
from g2rpo.scoring.kept import kept

LONGEST = 2000
"""Characters read of a text, from its end."""
REFUSAL = Guarded(
    r"\b(?:cannot|can't|can\s?not|couldn't|could\s+not|unable\s+to|impossible\s+to|not\s+possible\s+to)\s+(?:be\s+)?"
    r"(?:accurately\s+|definitively\s+|reliably\s+|really\s+)?(?:determin|tell|say|see|view|answer|know|identif|read|find|"
    r"infer|judge|provide|help|assist|give|process|interpret|make\s+out|decide|access|count|measure|comput|calculat|solve)\w*"
    r"|(?:\bnot|n't)\s+(?:\w+\s+)?(?:enough|sufficient)\s+(?:\w+\s+)?(?:information|data|details?|context|evidence)\b"
    r"|\b(?:insufficient|lacks?|lacking|without\s+more|no)\s+(?:the\s+)?(?:information|data|context)\b"
    r"|\bnot\s+(?:given|stated|mentioned|available|indicated|included|displayed)\b"
    r"|\bnot\s+(?:determinable|visible|legible|readable|provided|specified|shown|sure|certain|clear|answerable)\b"
    r"|\bunanswerable\b|\bunclear\b|\bunsure\b|\buncertain\b|\bi\s+(?:don't|do\s+not)\s+know\b|\bno\s+(?:visible\s+)?(?:text|image)\b"
    r"|\bno\s+idea\b|\bi'm\s+sorry\b|\bi\s+am\s+sorry\b|\bi\s+apologi[sz]e\b|\b(?:illegible|unreadable)\b",
    "no can't n't unable impossible insufficient lack without unanswerable unclear unsure"
    " uncertain sorry apolog illegible unreadable",
)
HEDGE = Guarded(
    r"\b(?:maybe|perhaps|possibly|might|either|could\s+be|may\s+be|not\s+sure|unsure|guess|unknown)\b",
    "maybe perhaps possibly might either could may not unsure guess unknown",
)
_ANSWER = Guarded(
    r"(?:\b(?:answers?|solution|result|conclusion)\b(?:\s+(?:to\s+(?:the|this)\s+\w+|here|therefore|then))?\s*(?:is|are|was|=|:|would\s+be|should\s+be|must\s+be)++"
    r"(?:\s+(?:that|that\s+it\s+is|thus|therefore))?\s*[:=]?|答案\s*[是为:：]*)\s*",
    "answer solution result conclusion 答案",
)
_LEAD = re.compile(
    r"\s*(?:(?:so|thus|hence|therefore|then|and|well|ok|okay|yes|overall|finally)\b[,\s]*)*"
    r"(?:(?:it|this|that|he|she|they|there|we\s+get|i\s+(?:see|think|believe)(?:\s+(?:it|that|this))?)(?:\s+(?:is|was|are|were|would\s+be|has|have|says?|reads?|shows?)|'s)\s+)?"
    r"(?:(?:on|in|at|to|by|from)\s+)?(?:(?:a|an|the|about|approximately|around|roughly|exactly|only)\s+)*",
    re.IGNORECASE,
)
_END = re.compile(
    r"(?<=[^\d\s])[.!?](?=\s|$)|(?<=\d)[.!?](?=\s+[^\d]|$)|\n|[,;]\s+(?:because|since|as|so|which|not)\b"
)
_NEGATED = Guarded(
    r"(?:\b(?:not|no|never|neither|nor|without|instead\s+of|rather\s+than|unlike)\b|n't\b)"
    r"(?:(?:(?!\b(?:but|it|is|are|so|which|because)\b)[^.;:!?\n]){0,80}\bor\b)?+[^.,;:!?\n]*",
    "no n't never neither without instead rather unlike",
)

_NOUN = (
    r"(?:model|method|curve|line|bar|algorithm|group|category|country|approach|variant|series|plot"
    r"|panel|subplot|data\s?set|network|team|company|region|segment|slice)"
)
"""What a name in a chart may be called: `the Joint-CNN model`."""
_MOVES = re.compile(
    r"\b(increas|decreas|rises?|ris|falls?|grow|declin|drop|fluctuat|converg|diverg|oscillat)\w*",
    re.IGNORECASE,
)
_WHEN = re.compile(r"\b(?:as|when|while|with|for|because|since)\b", re.IGNORECASE)


@kept
def answer_tail(text: str) -> str:
    """Return what follows the last `answer is` or `answer:`, up to the end of its clause.

    The text is empty if there is no such phrase.

    >>> answer_tail("So the answer is a dog. It barks."), answer_tail("a dog")
    ('a dog', '')
    """
    text = text[-LONGEST:]
    start = -1
    for match in _ANSWER.finditer(text):
        start = match.end()
    if start < 0:
        return ""
    rest = text[start:].lstrip()
    end = _END.search(rest)
    return rest[: end.start() if end else len(rest)].strip(" :.*")


def core(text: str) -> str:
    """Return a short statement without the words that introduce it, and without its full stop.

    >>> core("It is Monday."), core("On Monday"), core("So it's the red one!")
    ('Monday', 'Monday', 'red one')
    """
    lead = _LEAD.match(text)
    return text[lead.end() if lead else 0 :].strip().rstrip(".!").strip() or text.strip()


@kept
def is_unsure(text: str) -> bool:
    """Return whether a text refuses to answer, or hedges without a firm statement.

    >>> is_unsure("I cannot determine it; maybe 6"), is_unsure("about 6")
    (True, False)
    """
    return bool(REFUSAL.search(text) or HEDGE.search(text))


def without_negated(text: str) -> str:
    """Return the text without the clauses that deny something.

    >>> without_negated("It is a rabbit, not a cat.").split()
    ['It', 'is', 'a', 'rabbit,', '.']
    """
    return _NEGATED.sub(" ", text)


def trend(text: str) -> str:
    """Return the stem of the one verb that says how a curve moves; empty if there is none.

    >>> trend("The loss decreases as n grows."), trend("It rises and falls"), trend("no increase")
    ('decreas', '', '')
    """
    parts = _WHEN.split(without_negated(text[-LONGEST:]))
    main = parts[0] if parts[0].strip() else parts[-1].rpartition(",")[2]
    found = {match[1].lower() for match in _MOVES.finditer(main)}
    return found.pop() if len(found) == 1 and not is_unsure(text) else ""


def states(text: str, gold: str) -> bool:
    """Return whether a sentence begins with the gold words and a verb, or puts them after `is`.

    >>> states("Germany has the highest value.", "Germany"), states("It is in Germany", "Germany")
    (True, True)
    >>> states("Germany and France have it", "Germany"), states("It is not Germany", "Germany")
    (False, False)
    """
    return _stating(gold.strip()).search(without_negated(text[-LONGEST:]).strip()) is not None


@lru_cache(maxsize=4096)
def _stating(gold: str) -> re.Pattern[str]:
    words = re.escape(gold)
    return re.compile(
        rf"^\W*(?:the\s+)?{words}\W*(?:\s+{_NOUN})?(?:\s(?:has|have|had|is|are|was|were|shows?|with|at)\b|,\s*(?:with|at)\b|\()"
        rf"|\b(?:is|are|was|were)\s+(?:in\s+)?(?:the\s+)?[\"'*]*{words}\W*?(?:\s+{_NOUN})?"
        rf"(?:\W*$|,\s*(?:at|with|followed|which|having|accounting|reaching)\b)",
        re.IGNORECASE,
    )
