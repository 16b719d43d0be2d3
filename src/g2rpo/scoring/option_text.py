"""Prepare an answer to a question with options for reading: plain signs, no echoed question."""

import re
from collections.abc import Mapping

from g2rpo.scoring.extract import plain
from g2rpo.scoring.guarded import Guarded
from g2rpo.scoring.letters import bare

HEAD, TAIL = 300, 2000
"""Characters read at either end of a long text, where an answer stands."""
_CIRCLED = {
    start + place: chr(ord("A") + place)
    for start in (0x1F150, 0x1F170, 0x1F110)
    for place in range(26)
}
"""Letters in black circles and squares, which Unicode does not decompose."""
_DELIMITERS = re.compile(
    r"\\[()\[\]]|\\(?:math(?:bf|it|sf|bb|cal)|text(?:sf|sc)|boldsymbol|underline|bf|rm|left|right|quad"
    r"|displaystyle|fbox)\b|~"
)
_FENCE = re.compile(r"\s*+```[a-z]*+\s*+(.*)```\s*", re.DOTALL)
_BRACED = re.compile(r"\{\s*([^{}\s]{1,3})\s*\}")
_BOX_TOKENS = re.compile(r"<\|?/?\w{2,20}\|?>")
_NEXT_QUESTION = Guarded(r"(?<=\S)\s*+\n\s*+(?:Question|Hint)\s*+:", "question hint", 0)
"""Where a model begins to write the next problem."""
_HINT = re.compile(r"\s*+Hint\s*+:")
_NOT_APPLICABLE = Guarded(r"\bN/A\b", "n/a")
_GAP = re.compile(r"[\W_]*+(?:(?:and|or|option)\b[\W_]*+)*+", re.IGNORECASE)
_JUDGED = re.compile(r"\s*(?:is|are|was|were)\b", re.IGNORECASE)
_LABEL = re.compile(r"(?<![\w'])[(\[]?([A-Z])(?:[)\].:]{1,2}|\s-)\s*+")


def prepared(text: str, options: Mapping[str, str]) -> str:
    r"""Return the part of an answer that may name an option, in plain signs.

    Markup, LaTeX delimiters, a following question, and an echoed list of all options are left out.

    >>> prepared(r"\( \mathbf{B} \)", {}), prepared("**Ⓑ**", {})
    ('B', 'B')
    >>> prepared("A. cat\nB. dog\nSo B", {"A": "cat", "B": "dog"})
    'So B'
    """
    fence = _FENCE.fullmatch(text) if "```" in text else None
    text = fence[1] if fence else text
    text = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
    text = plain(_DELIMITERS.sub(" ", _BOX_TOKENS.sub(" ", text.translate(_CIRCLED))))
    text = _BRACED.sub(r"\1", text)
    following = None if _HINT.match(text) else _NEXT_QUESTION.search(text)
    text = text[: following.start()] if following else text
    return _without_echo(_NOT_APPLICABLE.sub("NA", text).strip(), options)


def _without_echo(text: str, options: Mapping[str, str]) -> str:
    """Return the text without a list of all options, each with its letter and nothing else."""
    start = end = 0
    if len(options) < 2 or not all(letter in text for letter in options):
        return text
    wanted = list(options)
    for label in _LABEL.finditer(text):
        if not wanted:
            break
        if label[1] != wanted[0]:
            continue
        own = options[wanted[0]].strip()
        rest = text[label.end() : label.end() + len(own) + 20]
        if not own or not bare(rest).startswith(bare(plain(own))):
            continue
        if len(wanted) == len(options):
            start = label.start()
        elif not _GAP.fullmatch(text[end : label.start()]):
            return text  # the options are discussed one after the other
        end = label.end() + len(own)
        wanted.pop(0)
    if wanted or _JUDGED.match(text, end):
        return text
    before, after = text[:start].strip(" ,:;(\n-"), text[end:].lstrip(" .,;:)\n-")
    return "\n".join(filter(None, (before, after)))
