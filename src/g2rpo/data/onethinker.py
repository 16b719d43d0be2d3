r"""Records in the format of OneThinker and OpenVLThinker: what is in a row, and what makes one unusable.

    {"problem_id": 7, "problem": "<image> Where is the lady?", "data_type": "image", "problem_type": "spatial grounding",
     "task_type": "spatial_grounding", "options": [], "answer": "<answer>{\"boxes\": [577, 232, 899, 786]}</answer>",
     "images": ["./train2014/355231.jpg"], "data_source": "RefCOCOg"}

Images stand before the text, whatever the place of `<image>` in it. Boxes are on a grid from 0 to 1000. Videos are not supported.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate, type_key
from g2rpo.records import TASKS, Prompt, task_index

ANSWER_TYPES = (
    "multiple choice", "numerical", "regression", "relaxed", "ocr", "open ended", "math", "spatial grounding", "segmentation",
)  # fmt: skip
"""Those that a question about images can have."""
GRID = 1000
_TAGS = re.compile(r"</?answer>")
_LETTER = re.compile(r"\s*\(?([A-Z])\s*[.):]")


class OneThinkerFormat:
    """Rows to prompts.

    Args:
        tasks: `task_type` of a row to one of the six tasks; a task's own name needs no entry.
        template: What is said beside the question.
    """

    def __init__(self, *, tasks: Mapping[str, str] | None, template: PromptTemplate) -> None:
        for name, task in (tasks or {}).items():
            try:
                task_index(task)
            except ValueError as error:
                raise ValueError(f"data.format.tasks.{name}: {error}") from None
        self.tasks = dict(tasks or {})
        self.template = template

    def key(self, row: Mapping[str, Any]) -> Any:
        """What tells rows of one file apart; None where a row has no id."""
        return row.get("problem_id", row.get("id"))

    def task(self, row: Mapping[str, Any]) -> str:
        """The task of a row. Raises `BadRecord`."""
        name = row.get("task_type") or row.get("task") or row.get("problem_type") or ""
        task = self.tasks.get(str(name), str(name))
        try:
            task_index(task)
        except ValueError:
            known = ", ".join(self.tasks or TASKS)
            raise BadRecord(f"task_type: {name!r} is none of {known}; add +data.format.tasks.{name}=<task>") from None
        return task

    def check(self, row: Mapping[str, Any]) -> None:
        """Raises `BadRecord` for a row that no prompt can be made of, or none whose answer can be judged. Opens no image."""
        if row.get("data_type", "image") != "image":
            raise BadRecord(f"data_type: expected image, got {row['data_type']!r}; videos are not supported")
        if not str(row.get("problem") or "").replace("<image>", "").strip():
            raise BadRecord("problem: the question is empty")
        kind, answer = type_key(str(row.get("problem_type", ""))), _answer(row)
        if kind not in ANSWER_TYPES:
            raise BadRecord(f"problem_type: expected one of {', '.join(ANSWER_TYPES)}, got {row.get('problem_type')!r}")
        if not answer:
            raise BadRecord("answer: it is empty")
        count = str(row["problem"]).count("<image>")
        if count and count != len(_images(row)):
            raise BadRecord(f"images: the question has {count} <image>, the row {len(_images(row))} paths")
        if kind == "multiple choice":
            _check_options(row.get("options") or [], answer)
        if kind == "spatial grounding":
            _check_box(answer)

    def prompt(self, row: Mapping[str, Any], *, id: str, meta: Mapping[str, Any]) -> Prompt:
        """The prompt of a row that passed `check`; image paths as the row has them."""
        kind = str(row["problem_type"])
        question = " ".join(str(row["problem"]).replace("<image>", " ").split(" ")).strip()
        return Prompt(
            id=id,
            task=self.task(row),
            text=self.template.text(question, [str(option) for option in row.get("options") or []], kind),
            images=tuple(_images(row)),
            answer=_answer(row),
            answer_type=kind,
            source=str(row.get("data_source") or ""),
            meta=meta,
        )


def _answer(row: Mapping[str, Any]) -> str:
    answer = row.get("answer", row.get("solution", ""))
    return _TAGS.sub("", answer if isinstance(answer, str) else json.dumps(answer)).strip()


def _images(row: Mapping[str, Any]) -> list[str]:
    found = row.get("images", row.get("image", row.get("path"))) or []
    return [str(path) for path in ([found] if isinstance(found, str) else found)]


def _check_options(options: list[Any], answer: str) -> None:
    # real data has stray entries such as "-" among lettered options
    letters = [match[1] for option in options if (match := _LETTER.match(str(option)))]
    if not letters:
        raise BadRecord(f"options: expected a letter before each, as in 'A. red', got {options!r}"[:300])
    chosen = re.sub(r"[().\s]", "", answer).upper()
    if len(chosen) == 1 and chosen not in letters:
        raise BadRecord(f"answer: {answer!r} is none of the options {', '.join(letters)}")


def _check_box(answer: str) -> None:
    try:
        box = json.loads(answer)["boxes"]
        x0, y0, x1, y1 = (float(value) for value in box)
    except (ValueError, KeyError, TypeError):
        raise BadRecord(f'answer: expected {{"boxes": [x0, y0, x1, y1]}}, got {answer[:100]!r}') from None
    if not (0 <= x0 < x1 <= GRID and 0 <= y0 < y1 <= GRID):
        raise BadRecord(f"answer: the box {box} does not lie inside the image (0 to {GRID}, first corner above and left of the second)")
