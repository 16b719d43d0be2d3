"""Option letters as EASI's spatial benchmarks in VLMEvalKit read them, defects included.

Rules after vlmeval/dataset/utils/spatial_bench/matching_func.py: a tagged answer's first character
is its letter whatever the word, a letter before `</think>` beats the answer after it, and texts of
options are never looked at.
"""

import re

_ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\ufeff"))
_OPEN, _CLOSE = "([{（【", ")]}）】"
_OPENING, _CLOSING = (rf"[{re.escape(brackets)}]?" for brackets in (_OPEN, _CLOSE))
_ANSWER_START = re.compile(r"<\s*+answer\b[^<>]*+>\s*+([A-J])", re.IGNORECASE)
_ANSWER_END = re.compile(r"<\s*+/\s*+answer\s*+>", re.IGNORECASE)
_BEFORE = tuple(
    re.compile(
        rf"(?<![A-Za-z])([A-F])\s{{0,9}}{_CLOSING}\s{{0,9}}</\s{{0,9}}{tag}\s{{0,9}}>",
        re.IGNORECASE,
    )
    for tag in ("answer", "think")
)
_THINK_END = re.compile(r"</\s*+think\s*+>", re.IGNORECASE)
_THINK_START = re.compile(r"<\s*+think\s*+>", re.IGNORECASE)
_LISTED = re.compile(r"[*_>\-\s]*+(?:option|选项)\s+[A-J]\s*[:：]", re.IGNORECASE)
_MARKS = r"*_`（）()\[\]【】"
_ALONE = re.compile(rf"\s*[{_MARKS}>]*\s*([A-Fa-f])\s*[{_MARKS}]*\s*")
_LABEL = re.compile(r"\s*([A-F])\s*[.．:：)\]】、-]\s+", re.IGNORECASE)
_INLINE = re.compile(
    r"(?<![A-Za-z])([A-F])(?:\s*[*_`）\]})]*)(?=$|[\s.,:;!?)\]】》」』，。；、：）])"
)
_PHRASE = re.compile(
    rf"(?:final\s{{0,9}}answer|the\s{{0,9}}answer\s{{0,9}}is|answer(?:\s{{0,9}}is)?|correct\s{{0,9}}answer|答案|最终答案|结论|所以|因此|我选(?:择)?|选择|选)"
    rf"\s{{0,9}}[:：>＝=]?\s{{0,9}}{_OPENING}\s{{0,9}}([A-F])\s{{0,9}}{_CLOSING}(?:\b|[.)、。])",
    re.IGNORECASE,
)
_ANYWHERE = re.compile(r"(?<![A-Za-z])([A-F])(?![A-Za-z])")
_TAIL, _LINES = 800, 6
"""Characters, and lines, read from the end."""


def spatial_option(text: str) -> str | None:
    r"""Return the letter A to F (A to J in answer tags); None if there is none.

    >>> spatial_option("<answer>cart</answer>"), spatial_option("final answer: b")
    ('C', 'B')
    >>> spatial_option("Option A: x\nOption B: y")
    """
    text = text.strip().translate(_ZERO_WIDTH)
    tail = text[-_TAIL:]
    return (
        _in_tags(text)
        or next((match[1].upper() for pattern in _BEFORE if (match := pattern.search(tail))), None)
        or _from_lines(_after_thinking(text))
        or _from_lines(tail)
        or _from_phrase(text)
        or _from_anywhere(text)
    )


def _in_tags(text: str) -> str | None:
    start = _ANSWER_START.search(text)
    closed = start and _ANSWER_END.search(text, start.end())
    return start[1].upper() if start and closed else None


def _after_thinking(text: str) -> str:
    for pattern in (_THINK_END, _THINK_START):
        ends = [match.end() for match in pattern.finditer(text)]
        if ends:
            return text[ends[-1] :].strip()
    return text


def _from_lines(text: str) -> str | None:
    """Return the letter of the last line that has one; None if none of the last lines has.

    Such a line is a letter and nothing else, a label, or has one distinct capital letter.
    """
    for line in reversed([line.strip() for line in text.splitlines()[-_LINES:]]):
        if not line or _LISTED.match(line):
            continue
        for pattern in (_ALONE.fullmatch, _LABEL.match):
            if match := pattern(line):
                return match[1].upper()
        letters = set(_INLINE.findall(line))
        if len(letters) == 1:
            return letters.pop()
    return None


def _from_phrase(text: str) -> str | None:
    match = _PHRASE.search(text)
    return match[1].upper() if match else None


def _from_anywhere(text: str) -> str | None:
    letters = {
        letter
        for line in text.splitlines()
        if not _LISTED.match(line)
        for letter in _ANYWHERE.findall(line)
    }
    return letters.pop() if len(letters) == 1 else None
