"""Demo records of the benchmarks with lettered options."""

from collections.abc import Sequence
from random import Random
from typing import Any

from g2rpo.records import Prompt

LETTERS = "ABCD"
PASS = 1_000_000
"""MMBench: indices of the passes of one question differ by multiples of this."""
Records = list[dict[str, Any]]


def mmmu(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns; every sixth question is open."""
    options = _options(prompt, wrong)
    is_open = number % 6 == 5
    return [
        {
            "id": f"validation_Demo_{number + 1}",
            "question": f"<image 1> {_question(prompt)}",
            "options": "[]" if is_open else repr(options),
            "explanation": "",
            "image_1": prompt.images[0],
            "answer": prompt.answer if is_open else _letter(prompt, options),
            "question_type": "open" if is_open else "multiple-choice",
            "subfield": "Shapes",
        }
    ]


def mmbench(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The TSV's columns: one row for each of four passes, in which the options move on by one place."""
    options = _options(prompt, wrong)
    passes = [options[-shift:] + options[:-shift] if shift else options for shift in range(len(options))]
    return [
        {
            "index": number + 1 + shift * PASS,
            "question": _question(prompt),
            "hint": None,
            **dict(zip(LETTERS, rotated, strict=False)),
            "answer": _letter(prompt, rotated),
            "category": "attribute_recognition",
            "l2-category": "finegrained_perception (instance-level)",
            "image": prompt.images[0],
            "source": prompt.source,
            "split": "dev",
        }
        for shift, rotated in enumerate(passes)
    ]


def mmstar(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The TSV's columns."""
    options = _options(prompt, wrong)
    return [
        {
            "index": number,
            "question": _question(prompt),
            **dict(zip(LETTERS, options, strict=False)),
            "answer": _letter(prompt, options),
            "category": "fine-grained perception",
            "l2_category": "attribute & celebrity recognition",
            "image": prompt.images[0],
        }
    ]


def ai2d(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns: the answer is the number of an option, from 0, as text."""
    options = _options(prompt, wrong)
    return [
        {
            "index": number,
            "question": _question(prompt),
            "options": options,
            "answer": str(options.index(prompt.answer)),
            "image": prompt.images[0],
        }
    ]


def embspatial(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns, from questions with options only: the answer is the number of an option, from 0."""
    if prompt.answer_type != "multiple choice":
        return []
    options = _options(prompt, wrong)
    return [
        {
            "data_source": prompt.source,
            "question_id": f"{prompt.source}_{number}",
            "question": _question(prompt),
            "relation": prompt.answer,
            "image": prompt.images[0],
            "answer_options": options,
            "answer": options.index(prompt.answer),
        }
    ]


def _question(prompt: Prompt) -> str:
    """The text without the words to choose from, which stand behind the question mark."""
    head, mark, _ = prompt.text.partition("?")
    return head + mark


def _options(prompt: Prompt, wrong: Sequence[str]) -> list[str]:
    options = [prompt.answer, *wrong]
    Random(prompt.id).shuffle(options)  # noqa: S311
    return options


def _letter(prompt: Prompt, options: Sequence[str]) -> str:
    return LETTERS[list(options).index(prompt.answer)]
