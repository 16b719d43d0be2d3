"""Answers that test whether the reward works for a prompt.

The gold answer must be right, both as written and in the form that the prompt asks for. Wrong
answers must get less. Training tries these answers before it starts; the preview shows them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from g2rpo.data.rows import read_json
from g2rpo.data.wrong_answers import JSON_KINDS, option_letters, wrong_answers
from g2rpo.prompt import Failed, Prompt, accuracy_in, answer_kind

GOLD, ASKED, WRONG = "gold", "as asked", "wrong"
NEARLY = 1e-6
SHOWN_CHARS = 100
_TAG = re.compile(r"<(\w+)>")
_ANSWER_TAGS = re.compile(r"</?\s*answer\s*>")
_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")


class Try(NamedTuple):
    """An answer with a known verdict."""

    name: str
    """`gold`, `as asked` or `wrong`."""
    answer: str
    completion: str
    """The answer after some thinking, in the tags that the prompt names."""

    @property
    def right(self) -> bool:
        """Whether the reward must accept it."""
        return self.name != WRONG


def golds_of(prompt: Prompt) -> list[str]:
    """Return the accepted answers of a prompt, without tags."""
    found = prompt.meta.get("alternatives") or [prompt.answer]
    return [_ANSWER_TAGS.sub("", str(gold)).strip() for gold in found]


def tries_of(prompt: Prompt) -> list[Try]:
    """Return the tries of a prompt: each gold answer, the first in the asked form, wrong
    answers.
    """
    golds = golds_of(prompt)
    answers = [
        *((GOLD, gold) for gold in golds),
        (ASKED, asked_form(prompt, golds[0])),
        *((WRONG, asked_form(prompt, answer)) for answer in wrong_answers(prompt, golds)),
    ]
    thinking, answered = tags_in(prompt.text)
    frame = f"<{thinking}>...</{thinking}><{answered}>{{}}</{answered}>"
    head, _, tail = frame.partition("{}")
    return [Try(name, answer, f"{head}{answer}{tail}") for name, answer in answers]


def asked_form(prompt: Prompt, answer: str) -> str:
    r"""Return an answer as the hint at the end of the prompt asks for it.

    Mathematics is put between dollar signs or in a box, an option becomes its letter, and JSON an
    object. A gold answer in words stays as it is, because nobody writes it as a formula.
    """
    kind, hint = answer_kind(prompt.answer_type), prompt.text.strip().rpartition("\n")[2].lower()
    if kind == "multiple choice" and "letter" in hint:
        return ", ".join(option_letters(answer)) or answer
    if kind in JSON_KINDS and "json" in hint:
        return _as_object(answer)
    if kind == "math" and not _DELIMITED.search(answer) and not _WORD.search(answer):
        plain = re.sub(r"(?<!\\)%", r"\\%", answer)  # a bare % starts a comment in LaTeX
        if "dollar sign" in hint:
            return f"${plain}$"
        if "\\boxed" in hint:
            return f"\\boxed{{{plain}}}"
    return answer


def tags_in(text: str) -> tuple[str, str]:
    """Return the tags for thinking and answer that a prompt asks for.

    >>> tags_in("Think between <think> and </think>, answer between <answer> and </answer>.")
    ('think', 'answer')
    >>> tags_in("How many?")
    ('thinking', 'answer')
    """
    named = list(dict.fromkeys(tag for tag in _TAG.findall(text) if f"</{tag}>" in text))
    thinking = next(
        (tag for tag in named if tag.lower().startswith(("think", "reason"))), "thinking"
    )
    return thinking, next((tag for tag in named if "answer" in tag.lower()), "answer")


def fault_of(prompt: Prompt, verdicts: Sequence[tuple[Try, Mapping[str, float] | Failed]]) -> str:
    """Return why training must not use a prompt, given the reward's verdicts on its tries.

    Empty if the gold answers are right and the wrong answers get less.
    """
    golds, options = golds_of(prompt), prompt.meta.get("options") or {}
    if answer_kind(prompt.answer_type) == "multiple choice" and not _among(golds[0], options):
        return f"it is none of the options {', '.join(options)}"
    failed = [outcome for _, outcome in verdicts if isinstance(outcome, Failed)]
    if failed:
        return f"the reward cannot judge it: {failed[0].reason}"
    accuracies = [
        (tried, accuracy_in(outcome))
        for tried, outcome in verdicts
        if not isinstance(outcome, Failed)
    ]
    for tried, accuracy in accuracies:
        if tried.right and not accuracy >= 1 - NEARLY:
            return _not_accepted(tried, accuracy, golds)
    for tried, accuracy in accuracies:
        if not tried.right and accuracy >= 1 - NEARLY:
            return (
                f"the wrong answer {_short(tried.answer)} gets accuracy {accuracy:g} like the right"
                " one; the reward reads the gold answer only in part, or not at all"
            )
    return ""


def _among(gold: str, options: Mapping[str, str]) -> bool:
    """Return whether a gold answer is among the options, by letter or text, if any are known."""
    letters = option_letters(gold)
    same = any(gold.strip().lower() == str(text).strip().lower() for text in options.values())
    return not options or same or not letters or set(letters) <= set(options)


def _not_accepted(tried: Try, accuracy: float, golds: Sequence[str]) -> str:
    if tried.name == ASKED:
        return (
            f"the gold answer in the form that the prompt asks for, {_short(tried.answer)}, gets"
            f" accuracy {accuracy:g} instead of 1"
        )
    if tried.answer != golds[0]:
        return (
            f"{_short(tried.answer)}, one of {len(golds)} gold answers, gets accuracy {accuracy:g}"
            " instead of 1"
        )
    return f"the gold answer itself gets accuracy {accuracy:g} instead of 1; no answer can meet it"


def _short(answer: str) -> str:
    return repr(answer if len(answer) <= SHOWN_CHARS else f"{answer[:SHOWN_CHARS]}...")


def _as_object(answer: str) -> str:
    try:
        value = read_json(answer)
    except ValueError:
        return answer
    return json.dumps({"boxes": value} if isinstance(value, list) else value)
