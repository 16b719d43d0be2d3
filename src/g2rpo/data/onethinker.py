r"""Reads and checks records in the format of OneThinker and OpenVLThinker.

    {"problem_id": 7, "problem": "<image> Where is the lady?", "data_type": "image",
     "problem_type": "spatial grounding", "task_type": "spatial_grounding", "options": [],
     "answer": "<answer>{\"boxes\": [577, 232, 899, 786]}</answer>",
     "images": ["./train2014/355231.jpg"], "data_source": "RefCOCOg"}

`<image>` in the question or an option marks the place of an image; without any mark, images come
before the text. Boxes are on a grid from 0 to 1000. Videos are not supported. Instead of a question
there may be a list of turns; see conversation.py.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from g2rpo.data.conversation import unfolded
from g2rpo.data.fields import columns_in, unread_fields
from g2rpo.data.gold import CUSTOM, read_golds
from g2rpo.data.gold import FIELDS as GOLD_FIELDS
from g2rpo.data.options import Options, gold_letters, options_in, read_options
from g2rpo.data.record_images import IMAGE_FIELDS, images_in
from g2rpo.data.rows import BadRecord, read_json
from g2rpo.data.template import PromptTemplate
from g2rpo.prompt import MARKER, answer_kind
from g2rpo.records import Prompt
from g2rpo.scoring.number import read_number
from g2rpo.tasks import checked_task

ANSWER_TYPES = (
    "multiple choice",
    "numerical",
    "regression",
    "relaxed",
    "ocr",
    "open ended",
    "math",
    "spatial grounding",
    "segmentation",
    CUSTOM,
)
"""Answer types of questions about images."""
TASK_FIELDS = ("task_type", "task")
"""Fields whose value is the task of a row, unless `data.format.tasks` has another name for it."""
KINDS = (*TASK_FIELDS, "data_source", "problem_type")
"""Fields that may name the task of a row, the most specific first."""
GRID = 1000
FIELDS = (
    "problem_id",
    "id",
    "problem",
    "data_type",
    "options",
    "data_source",
    *KINDS,
    *GOLD_FIELDS,
    *IMAGE_FIELDS,
    "messages",
    "conversations",
    "system",
)
"""Fields that are read."""
_LEADING = re.compile(rf"\A(?:\s*{MARKER})+\s*")


class OneThinkerFormat:
    """Turns rows into prompts.

    Args:
        tasks: Maps what a row says of its kind to the name of its task. A row's `task_type` or
            `task` is its task if there is no entry for it; `data_source` and `problem_type` need
            one.
        template: Adds instruction and answer hint to the question.
    """

    kinds: ClassVar[tuple[str, ...]] = KINDS
    """Fields that may name the task; the first one with a known name counts."""
    written_as: ClassVar[Mapping[str, str]] = {}
    """OneThinker's field names to those in the author's record, for messages."""

    def __init__(self, *, tasks: Mapping[str, str] | None, template: PromptTemplate) -> None:
        for name, task in (tasks or {}).items():
            checked_task(task, f"data.format.tasks.{name}")
        self.tasks = dict(tasks or {})
        self.template = template
        self.fields = frozenset(FIELDS)

    def key(self, row: Mapping[str, Any]) -> Any:
        """Return the id of a row; None if it has none."""
        return row.get("problem_id", row.get("id"))

    def task(self, row: Mapping[str, Any]) -> str:
        """Return the task of a row; raises `BadRecord` if it names none."""
        for field in self.kinds:
            name = self._text(row, field).strip()
            if name in self.tasks:
                return self.tasks[name]
            if name and field in TASK_FIELDS:
                try:
                    return checked_task(name, self._written(field))
                except ValueError as error:
                    raise BadRecord(str(error)) from None
        found = [str(row[field]) for field in self.kinds if row.get(field)]
        written = self._written("task_type")
        kinds = f", or one of data.format.tasks ({', '.join(self.tasks)})" if self.tasks else ""
        remedy = f"; say what it is with '+data.format.tasks.{found[0]}=TASK'" if found else ""
        raise BadRecord(
            f"{written}: expected the name of the row's task{kinds}, got"
            f" {' / '.join(map(repr, found)) or 'nothing'}{remedy}"
        )

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Raise `BadRecord` for a bad name of a task or an unknown answer type."""
        if values.get("task_type"):
            self.task(values)
        if "problem_type" in values:
            self._answer_type(values)

    def check(self, row: Mapping[str, Any]) -> None:
        """Raise `BadRecord` if a row gives no prompt or its answer cannot be judged.

        No image is opened.
        """
        if row.get("data_type", "image") != "image":
            raise BadRecord(
                f"data_type: expected image, got {row['data_type']!r}; videos are not supported"
            )
        unread_fields(row, self.fields)
        row = unfolded(row, question=self._written("problem"))
        problem, images = self._text(row, "problem"), images_in(row)
        for field in ("system", "data_source"):
            self._text(row, field)
        if not problem.replace(MARKER, "").strip():
            raise BadRecord(f"{self._written('problem')}: the question is empty")
        kind = self._answer_type(row)
        golds = read_golds(row, kind)
        options = _options(row, kind, problem)
        count = sum(
            text.count(MARKER)
            for text in (problem, *options.lines, *(text for _, text in row.get("history", ())))
        )
        if count and count != len(images):
            raise BadRecord(
                f"images: the question has {count} <image>, the row {len(images)} paths"
            )
        for answer in golds:
            if kind == "multiple choice":
                _check_choice(options.texts, answer)
            if kind == "spatial grounding":
                _check_box(answer)
            if kind in ("numerical", "regression") and read_number(answer) is None:
                raise BadRecord(
                    f"answer: expected a number without unit for {kind}, got {answer[:100]!r}"
                )

    def unread(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the fields of a row that nothing reads.

        Raises `BadRecord` for a misspelled field or one that holds media.
        """
        return unread_fields(row, self.fields)

    def warning(self, row: Mapping[str, Any]) -> str:
        """Return what looks wrong about a row that passed `check`; empty if nothing does."""
        bare = self.template.speaks_of_image and not images_in(unfolded(row))
        return (
            "there is no image, though data.format.template tells the model to look at one"
            if bare
            else ""
        )

    def prompt(self, row: Mapping[str, Any], *, id: str, meta: Mapping[str, Any]) -> Prompt:
        """Return the prompt of a row that passed `check`; image paths are those of the row."""
        warning, columns = self.warning(row), columns_in(row)
        row = unfolded(row)
        kind = str(row["problem_type"])
        question = _shown_question(row)
        plain_kind = answer_kind(kind)
        options = _options(row, plain_kind, question)
        golds = read_golds(row, plain_kind)
        if plain_kind == "multiple choice":
            golds = [gold_letters(gold, options.texts) or gold for gold in golds]
        found = {
            "options": options.texts,
            "alternatives": golds if len(golds) > 1 else (),
            "warning": warning,
        }
        return Prompt(
            id=id,
            task=self.task(row),
            text=self.template.text(question, options.lines, kind),
            images=tuple(images_in(row)),
            answer=golds[0],
            answer_type=kind,
            source=str(row.get("data_source") or ""),
            meta={**meta, **{name: value for name, value in found.items() if value}},
            system=str(row.get("system") or ""),
            columns=columns,
            history=row.get("history", ()),
        )

    def _text(self, row: Mapping[str, Any], field: str) -> str:
        """Return a field that holds text; empty if it is missing or null."""
        found = row.get(field)
        if found is not None and not isinstance(found, str):
            raise BadRecord(
                f"{self._written(field)}: expected text, got {type(found).__name__}"
                f" {str(found)[:100]}"
            )
        return found or ""

    def _answer_type(self, row: Mapping[str, Any]) -> str:
        kind = answer_kind(self._text(row, "problem_type"))
        if kind not in ANSWER_TYPES:
            near = get_close_matches(kind, ANSWER_TYPES, n=1)
            hint = f"; is it {near[0]!r}?" if near else ""
            raise BadRecord(
                f"{self._written('problem_type')}: expected one of {', '.join(ANSWER_TYPES)}, got"
                f" {row.get('problem_type')!r}{hint}"
            )
        return kind

    def _written(self, field: str) -> str:
        return self.written_as.get(field, field)


def _shown_question(row: Mapping[str, Any]) -> str:
    """Return the question without leading `<image>`, unless there are others elsewhere.

    Images come first anyway if nothing marks their place.
    """
    question = str(row["problem"])
    rest = _LEADING.sub("", question)
    others = (rest, *(text for _, text in row.get("history", ())), *_options(row, "", "").lines)
    return question if any(MARKER in text for text in others) or row.get("history") else rest


def _options(row: Mapping[str, Any], kind: str, question: str) -> Options:
    """Return the options of a record; those listed in its question are not shown again."""
    found = read_options(row.get("options"))
    return (
        Options((), options_in(question))
        if kind == "multiple choice" and not found.texts
        else found
    )


def _check_choice(texts: Mapping[str, str], answer: str) -> None:
    if gold_letters(answer, texts) is None:
        listed = (
            f"none of the options {', '.join(texts)}"
            if texts
            else "no letter, and neither options nor question list any option"
        )
        raise BadRecord(f"answer: {answer[:100]!r} is {listed}")


def _check_box(answer: str) -> None:
    try:
        box = read_json(answer)["boxes"]
        x0, y0, x1, y1 = (float(value) for value in box)
    except (ValueError, KeyError, TypeError):
        raise BadRecord(
            f'answer: expected {{"boxes": [x0, y0, x1, y1]}}, got {answer[:100]!r}'
        ) from None
    if not (0 <= x0 < x1 <= GRID and 0 <= y0 < y1 <= GRID):
        raise BadRecord(
            f"answer: the box {box} does not lie inside the image (0 to {GRID}, first corner above"
            " and left of the second)"
        )
