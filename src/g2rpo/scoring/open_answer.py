"""Open answers as a person compares them: by value, by words, in a sentence or alone."""

import re

from g2rpo.scoring.amounts import stated_amount
from g2rpo.scoring.expression import same_expression
from g2rpo.scoring.extract import plain
from g2rpo.scoring.letters import stems
from g2rpo.scoring.quantity import exact_number, numbers, same_value, same_words
from g2rpo.scoring.statement import answer_tail, core, is_unsure
from g2rpo.scoring.yes_no import stated_yes_no

LONGEST = 2000
_LONGEST_SPAN = 200
_SPAN = re.compile(
    r"\$\$?([^$\n]{1,200})\$\$?|\\\(((?:(?!\\\)).){1,200})\\\)|\\\[((?:(?!\\\]).){1,200})\\\]",
    re.DOTALL,
)
_LAST_IS = re.compile(
    r"\b(?:is|are|was|were|equals|be)\s+(?!.*\b(?:is|are|was|were|equals|be)\s)", re.DOTALL
)
_LEFT_SIDE = re.compile(r"^\s*[A-Za-z]\w*(?:\([A-Za-z]\))?\s*=\s*")
_IN_ORDER = re.compile(r"[-+]?\d[\d.]*(?:\s*,\s*[-+]?\d[\d.]*){1,20}")
_ONLY_NUMBERS = re.compile(r"[-+]?\d[\d.]*(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+)[-+]?\d[\d.]*){1,20}")
_RATIO, _SEPARATED = re.compile(r"(?<=\d)\s+to\s+(?=\d)"), re.compile(r"\d\s*:\s*\d")
_POINT_NAME = re.compile(r"^\s*\$?\s*[A-Z]'?\s*(?=\()")
_INTERVAL = re.compile(r"[\[(].*,.*[\])]")


def same_answer(answer: str, gold: str) -> bool:
    r"""Return whether an open answer is the gold one: equal mathematics, the number, or the words.

    A sentence counts for what it states. A refusal, a hedge or a range is no answer.

    >>> same_answer(r"The answer is $5\sqrt{3}$.", r"5\sqrt{3}"), same_answer("fourteen", "14")
    (True, True)
    >>> same_answer("On Monday.", "Monday"), same_answer("50%", r"\frac{1}{2}")
    (True, True)
    >>> same_answer("Between 5 and 6", "6"), same_answer("They need 6 moves for 12 coins.", "12")
    (False, False)
    """
    answer = answer[-LONGEST:]
    if _same(answer, gold):
        return True
    tail = answer_tail(answer)
    if is_unsure(tail or answer):
        return False
    if gold.strip().lower() in ("yes", "no"):
        return stated_yes_no(answer) == gold.strip().lower()
    answer = with_ratio(answer, gold)
    for part in (
        tail,
        core(answer),
        _last_span(answer),
        _after_is(answer),
        _POINT_NAME.sub("", answer),
    ):
        if part and len(part) <= _LONGEST_SPAN and _same(part, gold):
            return True
    return same_amount(answer, gold) or _same_stems(core(tail or answer), gold)


def with_ratio(answer: str, gold: str) -> str:
    """Return the answer with `3:4` for `3 to 4` if the gold answer is a ratio.

    >>> with_ratio("3 to 4", "3:4"), with_ratio("3 to 4", "3-4")
    ('3:4', '3 to 4')
    """
    return _RATIO.sub(":", answer) if _SEPARATED.search(gold) else answer


def same_amount(answer: str, gold: str) -> bool:
    """Return whether the amount that an answer states is the gold number.

    >>> same_amount("There are 14 cars.", "14"), same_amount("75%", "0.75")
    (True, True)
    """
    wanted = exact_number(plain(gold).rstrip("°").replace("\\$", ""))
    amount = None if wanted is None and "\\" not in gold else stated_amount(answer)
    return amount is not None and any(
        same_value(f"{value:.15g}", gold) for value in amount.values()
    )


def _same(answer: str, gold: str) -> bool:
    if _IN_ORDER.fullmatch(gold.strip(" $")) and _ONLY_NUMBERS.fullmatch(answer.strip(" .$()[]")):
        return numbers(answer) == numbers(gold)
    if same_value(answer, gold) or same_words(answer, gold) or same_expression(answer, gold):
        return True
    bare = _LEFT_SIDE.sub("", gold)  # `2x+1` for `y=2x+1`
    return bare != gold and not _INTERVAL.search(bare) and same_expression(answer, bare)


def _same_stems(answer: str, gold: str) -> bool:
    """Return whether two answers without numbers are the same words but for their endings."""
    return not any(map(str.isdigit, gold)) and " " in gold.strip() and stems(answer) == stems(gold)


def _last_span(text: str) -> str:
    """Return the last formula between LaTeX delimiters; empty if the text has none."""
    found = [next(filter(None, match.groups())) for match in _SPAN.finditer(text)]
    return found[-1].strip(" .") if found else ""


def _after_is(text: str) -> str:
    match = _LAST_IS.search(text)
    return text[match.end() :].strip().rstrip(".") if match else ""
