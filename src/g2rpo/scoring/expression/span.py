"""The part of an answer that is compared: the last box, what follows "answer is", or all of it."""

import re

from g2rpo.scoring.extract import last_box

LONGEST = 4000
"""Characters of a span; what is longer is compared as text only."""
_CUE = re.compile(
    r"(?:\banswer\b|\bsolution\b|答案|\bresult\b)\s*+(?:\*\*|__)?\s*+(?:(?:is|was|are|equals|must"
    r" be|should be|would be|will be)"
    r"\b\s*+:?|是|为|:|：|=)|(?:^|\n)\s*+####",
    re.IGNORECASE,
)
_SO = re.compile(
    r"(?:[,;.]\s++|\n\s*+|^)(?:so|thus|hence|therefore)\b,?|\\therefore|∴|⇒|→|=>|\\implies|\\Rightarrow|\\rightarrow"
)
_REASON = re.compile(
    r"[.,;]?\s++(?:this is |that is why |it is )?(?:because|since|that"
    r" is|i\.e\.|which)\b|(?<![,;)&+*/=-])(?<!\band)(?<!\bor)\s++\([^()]*+\)[.\s]*+$",
    re.IGNORECASE,
)
"""A reason, or a remark in parentheses, which is no item of a list: `(1, 2), (3, 4)`."""
_DOUBT = re.compile(
    r"\b(?:no|not|wait|wrong|incorrect|actually|but|however|sorry|instead|or|mod)\b|n't\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"\n|(?<=[^.\s])\.(?=\s)|(?<=\$)\.")
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)\s*+\{?")


def spans(text: str) -> list[str]:
    r"""The texts that an answer may mean, the first readable of which counts.

    >>> spans(r"\boxed{8}, no: \boxed{9}"), spans("So the answer is 5. It is prime."), spans("5 cm")
    (['9'], ['5. It is prime.', '5'], ['5 cm'])
    """
    text = text.strip()
    boxed = _last_box(text)
    if boxed is not None:
        return [boxed] if len(boxed) <= LONGEST else []
    tail = text[-LONGEST:]
    cues = [cue.end() for cue in _CUE.finditer(tail)]
    if cues:
        return _starts(tail[cues[-1] :])
    found = [text] if len(text) <= LONGEST else []
    turns = [turn.end() for turn in _SO.finditer(tail)]
    reason = _REASON.search(tail) if found else None
    found += [text[: reason.start()]] if reason and not _DOUBT.search(tail, reason.start()) else []
    return found + (_starts(tail[turns[-1] :]) if turns else [])


def _starts(text: str) -> list[str]:
    """A text, and its first line or sentence if the rest does not take it back."""
    text = text.strip(" \t\r\n:")
    first = _SENTENCE.split(text, maxsplit=1)[0].strip()
    return [text] if first == text or _DOUBT.search(text, len(first)) else [text, first]


def _last_box(text: str) -> str | None:
    if "\\boxed" not in text and "\\fbox" not in text:
        return None
    text = text.replace("\\fbox", "\\boxed").replace("\\boxed {", "\\boxed{")
    start = [match.end() for match in _OPEN_BOX.finditer(text)][-1]
    if text[start - 1] == "{":
        inner = last_box(text)
        return text[start:].strip() if inner is None else inner
    return text[start:].split("$")[0].strip()
