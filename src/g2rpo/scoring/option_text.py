"""Prepare an answer to a question with options for reading: plain signs, no echoed question."""

import re
from collections.abc import Mapping

from g2rpo.scoring.extract import plain
from g2rpo.scoring.letters import bare

HEAD, TAIL = 300, 2000
"""Characters read at either end of a long text, where an answer stands."""
_CIRCLED = {
    start + place: chr(ord("A") + place)
    for start in (0x1F150, 0x1F170, 0x1F110)
    for place in range(26)
}
"""Letters in black circles and squares, which Unicode does not decompose."""
_DELIMITERS = re.compile(r"\\[()\[\]]|\\(?:mathbf|mathit|bf|rm|left|right|quad|displaystyle)\b|~")
_BRACED = re.compile(r"\{\s*([^{}\s]{1,3})\s*\}")
_BOX_TOKENS = re.compile(r"<\|?/?\w{2,20}\|?>")
_NEXT_QUESTION = re.compile(r"(?<=\S)\s*+\n\s*+Question\s*+:")
"""Where a model begins to write the next problem."""
_LABEL = re.compile(r"(?<![\w'])[(\[]?([A-Z])(?:[)\].:]{1,2}|\s-)\s*+")


def prepared(text: str, options: Mapping[str, str]) -> str:
    r"""Return the part of an answer that may name an option, in plain signs.

    Markup, LaTeX delimiters, a following question, and an echoed list of all options are left out.

    >>> prepared(r"\( \mathbf{B} \)", {}), prepared("**Ⓑ**", {})
    ('B', 'B')
    >>> prepared("A. cat\nB. dog\nSo B", {"A": "cat", "B": "dog"})
    'So B'
    """
    text = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
    text = plain(_DELIMITERS.sub(" ", _BOX_TOKENS.sub(" ", text.translate(_CIRCLED))))
    text = _BRACED.sub(r"\1", text)
    following = _NEXT_QUESTION.search(text)
    text = text[: following.start()] if following else text
    return _without_echo(text.strip(), options)


def _without_echo(text: str, options: Mapping[str, str]) -> str:
    """Return what follows a list of all options with their letters; the text if there is none."""
    end, wanted = 0, list(options)
    for label in _LABEL.finditer(text):
        if not wanted:
            break
        if label[1] != wanted[0]:
            continue
        rest = text[label.end() : label.end() + len(options[wanted[0]]) + 20]
        own = options[wanted[0]].strip()
        if own and bare(rest).startswith(bare(plain(own))):
            end = label.end() + len(own)
            wanted.pop(0)
    return text if wanted or len(options) < 2 else text[end:].lstrip(" .,;:)\n-")
