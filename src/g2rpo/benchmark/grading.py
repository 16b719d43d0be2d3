"""Prompts to a judge model, in our own words, and how its replies are read."""

import json
from collections.abc import Mapping
from typing import Any

from g2rpo.benchmark.base import Judge
from g2rpo.scoring.extract import without_thinking
from g2rpo.scoring.option import FAILED

LONGEST = 8000
"""Maximum number of characters of a response shown to a judge, taken from its end."""


def ask(judge: Judge, prompt: str) -> str | None:
    """Return the judge's reply; None if it reports a failure."""
    reply = judge(prompt)
    return None if FAILED in reply else reply


def extraction_prompt(question: str, response: str, form: str) -> str:
    """Return a prompt that asks for the final answer in a response."""
    return (
        "A model answered a question about an image. Copy the final answer out of its"
        f" response.\nWrite {form}, and nothing else. Do not solve the question yourself. If the"
        " response gives no final answer, write:"
        f" null\n\n[Question]\n{question}\n\n[Response]\n{response[-LONGEST:]}\n\n[Final answer]\n"
    )


def option_prompt(question: str, options: Mapping[str, str], response: str) -> str:
    """Return a prompt that asks which option a response chooses."""
    listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    return (
        "Which of the options does the response choose? Reply with that option's capital letter, or"
        " with Z if it chooses none of them.\n\n"
        f"[Question]\n{question}\n\n[Options]\n{listed}\n\n[Response]\n{response[-LONGEST:]}\n\n[Letter]\n"
    )


def same_answer_prompt(question: str, answer: str, gold: str) -> str:
    """Return a prompt that asks whether two answers to a question are the same, as 1 or 0."""
    return (
        "Do the two answers to this question say the same? A different notation or unit of the"
        " same quantity is the same; an answer that\nis incomplete or says more than one thing is"
        " not. Reply with the single character 1 for the same, 0"
        f" otherwise.\n\n[Question]\n{question}\n\n[Reference"
        f" answer]\n{gold}\n\n[Answer]\n{answer[-LONGEST:]}\n\n[1 or 0]\n"
    )


def chart_prompt(question: str, response: str, gold: str, rubric: str) -> str:
    """Return a prompt that asks for the answer about a chart and whether it is right, as JSON."""
    return (
        "Grade the response to a question about a chart against the reference answer.\nRule:"
        f' {rubric}\nReply with one JSON object and nothing around it: {{"extracted_answer": "<the'
        f' final answer>", "score": 1 or 0}}\n\n[Question]\n{question}\n\n[Reference'
        f" answer]\n{gold}\n\n[Response]\n{response[-LONGEST:]}\n"
    )


def grade_prompt(question: str, options: Mapping[str, str], response: str, gold: str) -> str:
    """Return a prompt that asks to grade a choice: A right, B wrong, C no answer."""
    listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    return (
        "Grade the response to a multiple-choice question. Reply with one letter: A if its final"
        " answer is the reference option, B if it\nis another one, C if it gives no"
        f" answer.\n\n[Question]\n{question}\n{listed}\n\n[Reference"
        f" option]\n{gold}\n\n[Response]\n{response[-LONGEST:]}\n\n[Grade]\n"
    )


def json_reply(reply: str, *, lenient: bool = False) -> dict[str, Any] | None:
    r"""Parse a reply as a JSON object; None for anything else.

    Args:
        reply: What the judge wrote.
        lenient: Whether to skip thinking and to look inside a code fence.

    >>> json_reply('{"score": 1}'), json_reply('[1]')
    ({'score': 1}, None)
    >>> json_reply('```json\n{"score": 1}\n```', lenient=True)
    {'score': 1}
    """
    if lenient:
        reply = without_thinking(reply)
        reply = reply[reply.find("{") : reply.rfind("}") + 1]
    try:
        value = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
