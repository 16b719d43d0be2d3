"""Scoring rules of MathVista, one function per protocol."""

import re
from collections.abc import Mapping
from typing import Any

from g2rpo.benchmark.base import Judge
from g2rpo.benchmark.columns import list_of, text_of
from g2rpo.benchmark.grading import ask, extraction_prompt
from g2rpo.benchmark.multiple_choice import UNREAD, stated_option
from g2rpo.records import Judgment
from g2rpo.scoring.amounts import stated_amount
from g2rpo.scoring.chart import is_year, stated_year
from g2rpo.scoring.extract import clean
from g2rpo.scoring.open_answer import same_answer
from g2rpo.scoring.option import REFUSAL, infer_option, lettered
from g2rpo.scoring.quantity import exact_number, numbers
from g2rpo.scoring.text import edit_distance

FORMS = {
    "integer": "a whole number",
    "float": "a number",
    "list": "a Python list",
    "text": "a few words",
}
_QUOTED = re.compile(r'The answer is "(.*)"\.')
_BRACKETED_LETTER = re.compile(r"\(([a-zA-Z])\)")
_LIST = re.compile(r"\[[^\[\]]*\]")
_BETWEEN = re.compile(r"\b(?:between|from)\s+\S+\s+(?:and|to)\s+\S+", re.IGNORECASE)
_LONGEST = 2000


def extraction_request(text: str, row: Mapping[str, Any]) -> str:
    """Return the prompt that asks a judge for the answer in a completion."""
    form = (
        "an option letter"
        if row["question_type"] == "multi_choice"
        else FORMS.get(row["answer_type"], "a few words")
    )
    question = text_of(row.get("question"))
    if row.get("choices"):
        question += "".join(
            f"\n({letter}) {choice}"
            for letter, choice in lettered(list_of(row["choices"]) or []).items()
        )
    return extraction_prompt(question, text, form)


def gold_letter(row: Mapping[str, Any]) -> str:
    """Return the letter of the first option with the gold text; empty if there is none."""
    given = row.get("answer_option")
    return given or next(
        (
            letter
            for letter, text in lettered(list_of(row["choices"]) or []).items()
            if text == row["answer"]
        ),
        "",
    )


def paper(text: str, row: Mapping[str, Any], *, final: bool = False) -> Judgment:
    """Score like VLMEvalKit.

    Before a judge has extracted (`final` is False), a right number 0 counts as nothing read. A list
    is
    never right.
    """
    if row["question_type"] == "multi_choice":
        letter = infer_option(text, lettered(list_of(row["choices"]) or []))
        if letter is None:
            return UNREAD
        return Judgment(
            score=float(letter == gold_letter(row)), parsed=letter != REFUSAL, answer=letter
        )
    read: type[int] | type[float] | None = {"integer": int, "float": float}.get(row["answer_type"])
    if read is None:
        return UNREAD
    try:
        value, gold = read(text), read(row["answer"])
    except (ValueError, OverflowError):
        return UNREAD
    right = value == gold and (final or bool(value))
    return Judgment(score=float(right), parsed=True, answer=str(value) if right else "")


def official(completion: str, row: Mapping[str, Any], judge: Judge | None) -> Judgment:
    """Score like MathVista's own evaluation: extract, normalize, compare as text."""
    extraction, by = (
        (completion, "rule")
        if row.get("extraction_is_completion")
        else _official_extraction(completion, row, judge)
    )
    kind, value = row["answer_type"], extraction.strip()
    if row["question_type"] == "multi_choice":
        value = _official_choice(
            extraction, [str(choice) for choice in list_of(row["choices"]) or []]
        )
    elif kind in ("integer", "float"):
        try:
            value = (
                str(int(float(extraction)))
                if kind == "integer"
                else str(round(float(extraction), int(row.get("precision") or 0)))
            )
        except (ValueError, OverflowError):
            return UNREAD
    elif not extraction:
        return UNREAD
    return Judgment(
        score=float(value == row["answer"]), parsed=bool(extraction.strip()), answer=value, by=by
    )


def _official_extraction(
    completion: str, row: Mapping[str, Any], judge: Judge | None
) -> tuple[str, str]:
    if row["question_type"] == "multi_choice" and completion in (list_of(row["choices"]) or []):
        return completion, "rule"
    read: type[int] | type[float] | None = {"integer": int, "float": float}.get(row["answer_type"])
    if read is not None:
        try:
            return str(read(completion)), "rule"
        except (ValueError, OverflowError):
            pass  # the completion is a sentence; the rules below read it
    quoted = _QUOTED.search(completion)
    if quoted:
        return quoted[1], "rule"
    reply = None if judge is None else ask(judge, extraction_request(completion, row))
    return ("", "rule") if reply is None else (reply, "judge")


def _official_choice(extraction: str, choices: list[str]) -> str:
    """Return the option a letter names, else the option with the smallest edit distance.

    An empty extraction becomes the shortest option.
    """
    extraction = extraction.strip()[:_LONGEST]
    bracketed = _BRACKETED_LETTER.search(extraction)
    extraction = bracketed[1].upper() if bracketed else extraction
    options = lettered(choices)
    if extraction in options:
        return options[extraction]
    return min(choices, key=lambda choice: edit_distance(choice, extraction), default="")


def robust(completion: str, row: Mapping[str, Any]) -> Judgment:
    """Compare options by letter or text, numbers after rounding, lists item by item."""
    text = clean(completion)
    if row["question_type"] == "multi_choice":
        letter = stated_option(completion, lettered(list_of(row["choices"]) or []))
        return (
            UNREAD
            if letter is None
            else Judgment(score=float(letter == gold_letter(row)), parsed=True, answer=letter)
        )
    kind = row["answer_type"]
    if kind == "list":
        return _robust_list(text, row)
    if kind not in ("integer", "float"):
        return (
            Judgment(score=float(same_answer(text, row["answer"])), parsed=True, answer=text[:200])
            if text
            else UNREAD
        )
    gold, exact = exact_number(row["answer"]), exact_number(text)
    amount = stated_amount(text)
    values = ((exact,) if exact is not None else ()) + (amount.values() if amount else ())
    year = stated_year(text) if is_year(row["answer"]) else None
    values += (float(year),) if year is not None else ()
    if gold is None or not values:
        return UNREAD
    decimals = row.get("precision")
    decimals = (
        0
        if kind == "integer"
        else len(row["answer"].partition(".")[2])
        if decimals is None
        else int(decimals)
    )
    right = any(
        abs(value - gold) <= 1e-9 * abs(gold)
        if kind == "integer"
        else abs(round(value, decimals) - round(gold, decimals)) < 10.0 ** -(decimals + 3)
        for value in values
    )
    return Judgment(score=float(right), parsed=True, answer=f"{values[0]:g}")


def _robust_list(text: str, row: Mapping[str, Any]) -> Judgment:
    listed = _LIST.findall(text[-_LONGEST:])
    between = _BETWEEN.search(text)
    part = listed[-1][1:-1] if listed else between[0] if between else text
    got, gold = numbers(part), numbers(row["answer"][1:-1])
    return Judgment(score=float(got == gold), parsed=True, answer=str(got)) if got else UNREAD
