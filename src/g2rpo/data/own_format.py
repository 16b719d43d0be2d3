"""Records of your own: JSON or JSON Lines with the fields of a `Prompt`.

    {"id": "1", "task": "math", "text": "How many?", "images": ["a.png"], "answer": "3",
     "answer_type": "numerical", "options": []}

`text` is the question as the model reads it; `data.format.template` adds the
instruction and the answer hint. `options` may be left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from g2rpo.data.conversation import TURN_FIELDS
from g2rpo.data.fields import columns_in, unread_fields
from g2rpo.data.gold import CUSTOM
from g2rpo.data.onethinker import FIELDS, OneThinkerFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate

NAMES = {"id": "problem_id", "text": "problem", "answer_type": "problem_type", "task": "task_type"}
REQUIRED = ("task", "text", "answer", "answer_type")


class OwnFormat(OneThinkerFormat):
    """Reads rows whose fields have our names instead of OneThinker's."""

    kinds: ClassVar[tuple[str, ...]] = ("task_type",)
    written_as: ClassVar[Mapping[str, str]] = {field: name for name, field in NAMES.items()}

    def __init__(self, *, tasks: Mapping[str, str] | None, template: PromptTemplate) -> None:
        super().__init__(tasks=tasks, template=template)
        self.fields = frozenset({*NAMES, *FIELDS} - set(NAMES.values()))

    def check(self, row: Mapping[str, Any]) -> None:
        """Raise `BadRecord` if the row cannot be used or lacks a field."""
        unread_fields(row, self.fields)
        turns = any(row.get(name) for name in TURN_FIELDS)
        missing = [
            name
            for name in REQUIRED
            if name not in row
            and not (turns and name in ("text", "answer"))
            and not (name == "answer" and row.get("answer_type") == CUSTOM)
        ]
        if "answer" in missing and row.get("solution") is not None:
            missing.remove("answer")
        if missing:
            raise BadRecord(
                f"{', '.join(missing)}: missing; expected the fields {', '.join(REQUIRED)}, and"
                " images, options, id if any"
            )
        super().check(_renamed(row))

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Raise `BadRecord` for a bad name of a task or an unknown answer type."""
        super().check_values(_renamed(values))

    def warning(self, row: Mapping[str, Any]) -> str:
        """Return what looks wrong about a row that passed `check`; empty if nothing does."""
        return super().warning(_renamed(row))

    def task(self, row: Mapping[str, Any]) -> str:
        """Return the task of a row; raises `BadRecord` if it names none."""
        return super().task(_renamed(row))

    def key(self, row: Mapping[str, Any]) -> Any:
        """Return the id of a row; None if it has none."""
        return row.get("id")

    def prompt(self, row: Mapping[str, Any], **given: Any) -> Any:
        """Return the prompt of a row that passed `check`."""
        return replace(super().prompt(_renamed(row), **given), columns=columns_in(row))


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in row.items()}
