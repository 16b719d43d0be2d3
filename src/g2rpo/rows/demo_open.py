"""Demo records of the benchmarks whose answers are numbers or words."""

from collections.abc import Sequence
from typing import Any

from g2rpo.records import Prompt
from g2rpo.rows.demo_choices import LETTERS

Records = list[dict[str, Any]]
INTEGER_HINT = "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the end."
VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")


def mathvista(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns: free-form questions with whole numbers as answers."""
    return [
        {
            "pid": str(number + 1),
            "question": prompt.text,
            "image": f"images/{number + 1}.jpg",
            "decoded_image": prompt.images[0],
            "choices": None,
            "unit": None,
            "precision": None,
            "answer": prompt.answer,
            "question_type": "free_form",
            "answer_type": "integer",
            "metadata": {"split": "testmini", "category": "general-vqa", "task": "figure question answering", "skills": ["arithmetic"]},
            "query": f"{INTEGER_HINT}\nQuestion: {prompt.text}",
        }
    ]


def mathverse(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns: one problem in five versions, every second one with options."""
    problem, version = divmod(number, len(VERSIONS))
    chosen = number % 2 == 1
    options = sorted([prompt.answer, *wrong], key=float)
    listed = "\n".join(f"{letter}:{option}" for letter, option in zip(LETTERS, options, strict=False))
    question = f"{prompt.text}\nChoices:\n{listed}" if chosen else prompt.text
    goal = "correct option letter, e.g., A, B, C, D" if chosen else "final value, e.g., 1, 2.5, 300"
    direct = f"Please directly answer the question and provide the {goal}."
    stepwise = f"Please first conduct reasoning, and then answer the question and provide the {goal}, at the end."
    return [
        {
            "sample_index": str(number + 1),
            "problem_index": str(problem + 1),
            "problem_version": VERSIONS[version],
            "question": question,
            "image": prompt.images[0],
            "answer": LETTERS[options.index(prompt.answer)] if chosen else prompt.answer,
            "question_type": "multi-choice" if chosen else "free-form",
            "metadata": {"split": "testmini", "source": prompt.source, "subject": "Functions", "subfield": "Applied"},
            "query_wo": f"{direct}\nQuestion: {question}",
            "query_cot": f"{stepwise}\nQuestion: {question}",
            "question_for_eval": question,
        }
    ]


def mathvision(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns."""
    return [
        {
            "id": str(number + 1),
            "question": f"{prompt.text}\n<image1>",
            "options": [],
            "image": f"images/{number + 1}.jpg",
            "decoded_image": prompt.images[0],
            "answer": prompt.answer,
            "solution": None,
            "level": 1,
            "subject": "counting",
        }
    ]


def chartqa(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns."""
    kind = ("human_test", "augmented_test")[number % 2]
    return [{"type": kind, "question": prompt.text, "answer": prompt.answer, "image": prompt.images[0], "index": number}]


def charxiv_rq(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns: numbers that are in the chart (answer type 3)."""
    return [
        {
            "image": prompt.images[0],
            "category": "cs",
            "year": "24",
            "original_id": prompt.id,
            "figure_path": f"images/{number}.jpg",
            "index": number,
            "num_subplots": 1,
            "reasoning_q": prompt.text,
            "reasoning_q_source": 3,
            "reasoning_a": prompt.answer,
            "reasoning_a_type": 3,
        }
    ]


def docvqa(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns."""
    return [
        {
            "questionId": str(number),
            "question": prompt.text,
            "question_types": ["free_text"],
            "image": prompt.images[0],
            "docId": number,
            "answers": [prompt.answer],
            "data_split": "val",
        }
    ]


def infovqa(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns."""
    return [
        {
            "questionId": str(number),
            "question": prompt.text,
            "answers": [prompt.answer],
            "answer_type": ["single span"],
            "image": prompt.images[0],
            "operation/reasoning": None,
            "ocr": "",
            "data_split": "val",
        }
    ]


def ocrbench(prompt: Prompt, number: int, wrong: Sequence[str]) -> Records:
    """The Hub's columns."""
    return [
        {
            "dataset": prompt.source,
            "index": number,
            "question": prompt.text,
            "question_type": ("Digit String Recognition", "Doc-oriented VQA")[number % 2],
            "answer": [prompt.answer],
            "image": prompt.images[0],
        }
    ]
