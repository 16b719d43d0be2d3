r"""Records in the format of OneThinker and OpenVLThinker: what is in a row, and what makes one unusable.

    {"problem_id": 7, "problem": "<image> Where is the lady?", "data_type": "image", "problem_type": "spatial grounding",
     "task_type": "spatial_grounding", "options": [], "answer": "<answer>{\"boxes\": [577, 232, 899, 786]}</answer>",
     "images": ["./train2014/355231.jpg"], "data_source": "RefCOCOg"}

Images stand before the text, whatever the place of `<image>` in it; a marker amid the text becomes `[image 2]`. Boxes are on a
grid from 0 to 1000. Videos are not supported.
"""

import json
from collections.abc import Mapping
from typing import Any

from g2rpo.data.gold import read_golds
from g2rpo.data.options import Options, gold_letters, options_in, read_options
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate
from g2rpo.prompt import answer_kind
from g2rpo.records import TASKS, Prompt, task_index
from g2rpo.scoring.number import read_number

ANSWER_TYPES = (
    "multiple choice", "numerical", "regression", "relaxed", "ocr", "open ended", "math", "spatial grounding", "segmentation",
)  # fmt: skip
"""Those that a question about images can have."""
KINDS = ("task_type", "task", "data_source", "problem_type")
"""Fields that say of which kind a row is, the most particular first."""
GRID = 1000
MARKER = "<image>"


class OneThinkerFormat:
    """Rows to prompts.

    Args:
        tasks: What a row says of its kind to one of the six tasks: its `task_type`, `task`, `data_source` or `problem_type`, the
            first of them that is found here. A task's own name needs no entry.
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
        for field in KINDS:
            if name := row.get(field):
                task = self.tasks.get(str(name), str(name))
                if task in TASKS:
                    return task
        said = [str(row[field]) for field in KINDS if row.get(field)]
        names = " / ".join(map(repr, said)) or "nothing"
        raise BadRecord(
            f"task_type: expected one of {', '.join(self.tasks or TASKS)}, got {names}; "
            f"say what it is with '+data.format.tasks.{(said or ['KIND'])[0]}=TASK'"
        )

    def check(self, row: Mapping[str, Any]) -> None:
        """Raises `BadRecord` for a row that no prompt can be made of, or none whose answer can be judged. Opens no image."""
        if row.get("data_type", "image") != "image":
            raise BadRecord(f"data_type: expected image, got {row['data_type']!r}; videos are not supported")
        problem, images = str(row.get("problem") or ""), _images(row)
        if not problem.replace(MARKER, "").strip():
            raise BadRecord("problem: the question is empty")
        kind = answer_kind(str(row.get("problem_type", "")))
        if kind not in ANSWER_TYPES:
            raise BadRecord(f"problem_type: expected one of {', '.join(ANSWER_TYPES)}, got {row.get('problem_type')!r}")
        golds = read_golds(row, kind)
        count = problem.count(MARKER)
        if count and count != len(images):
            raise BadRecord(f"images: the question has {count} <image>, the row {len(images)} paths")
        options = _options(row, kind, problem)
        for answer in golds:
            if kind == "multiple choice":
                _check_choice(options.texts, answer)
            if kind == "spatial grounding":
                _check_box(answer)
            if kind in ("numerical", "regression") and read_number(answer) is None:
                raise BadRecord(f"answer: expected a number without unit for {kind}, got {answer[:100]!r}")

    def prompt(self, row: Mapping[str, Any], *, id: str, meta: Mapping[str, Any]) -> Prompt:
        """The prompt of a row that passed `check`; image paths as the row has them."""
        kind = str(row["problem_type"])
        question = _without_markers(str(row["problem"]))
        plain_kind = answer_kind(kind)
        options = _options(row, plain_kind, question)
        golds = read_golds(row, plain_kind)
        if plain_kind == "multiple choice":
            golds = [gold_letters(gold, options.texts) or gold for gold in golds]
        return Prompt(
            id=id,
            task=self.task(row),
            text=self.template.text(question, options.lines, kind),
            images=tuple(_images(row)),
            answer=golds[0],
            answer_type=kind,
            source=str(row.get("data_source") or ""),
            meta={**meta, **({"options": options.texts} if options.texts else {}), **({"alternatives": golds} if len(golds) > 1 else {})},
        )


def _images(row: Mapping[str, Any]) -> list[str]:
    found = row.get("images", row.get("image", row.get("path"))) or []
    paths = [found] if isinstance(found, str) else found
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise BadRecord(f"images: expected a path or a list of paths, got {str(found)[:100]}")
    return paths


def _without_markers(question: str) -> str:
    """Images stand before the text, so markers at its beginning go; one further on becomes the number of its image."""
    pieces = question.split(MARKER)
    text = pieces[0].strip()
    for number, piece in enumerate(pieces[1:], 1):
        text = f"{text} [image {number}] {piece.strip()}" if text else piece.strip()
    return text


def _options(row: Mapping[str, Any], kind: str, question: str) -> Options:
    """The options of a record; those that only its question lists are not shown a second time."""
    found = read_options(row.get("options"))
    return Options((), options_in(question)) if kind == "multiple choice" and not found.texts else found


def _check_choice(texts: Mapping[str, str], answer: str) -> None:
    if gold_letters(answer, texts) is None:
        listed = f"none of the options {', '.join(texts)}" if texts else "no letter, and neither options nor question list any option"
        raise BadRecord(f"answer: {answer[:100]!r} is {listed}")


def _check_box(answer: str) -> None:
    try:
        box = json.loads(answer)["boxes"]
        x0, y0, x1, y1 = (float(value) for value in box)
    except (ValueError, KeyError, TypeError):
        raise BadRecord(f'answer: expected {{"boxes": [x0, y0, x1, y1]}}, got {answer[:100]!r}') from None
    if not (0 <= x0 < x1 <= GRID and 0 <= y0 < y1 <= GRID):
        raise BadRecord(f"answer: the box {box} does not lie inside the image (0 to {GRID}, first corner above and left of the second)")
