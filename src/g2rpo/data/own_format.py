"""Records of one's own: JSON or JSON Lines with the fields of a `Prompt`.

    {"id": "1", "task": "math", "text": "How many?", "images": ["a.png"], "answer": "3", "answer_type": "numerical", "options": []}

`text` is the question as the model shall read it; `data.format.template` adds what every question has. `options` may be left out.
"""

from collections.abc import Mapping
from typing import Any

from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.rows import BadRecord

NAMES = {"id": "problem_id", "text": "problem", "answer_type": "problem_type", "task": "task_type"}
REQUIRED = ("task", "text", "answer", "answer_type")


class OwnFormat(OneThinkerFormat):
    """Rows with our names for what OneThinker has under others."""

    def check(self, row: Mapping[str, Any]) -> None:
        """Raises `BadRecord`, also for a missing field."""
        missing = [name for name in REQUIRED if name not in row]
        if missing:
            raise BadRecord(f"{', '.join(missing)}: missing; expected the fields {', '.join(REQUIRED)}, and images, options, id if any")
        super().check(_renamed(row))

    def task(self, row: Mapping[str, Any]) -> str:
        """The task of a row. Raises `BadRecord`."""
        return super().task(_renamed(row))

    def key(self, row: Mapping[str, Any]) -> Any:
        """The id, if any."""
        return row.get("id")

    def prompt(self, row: Mapping[str, Any], **given: Any) -> Any:
        """The prompt of a row that passed `check`."""
        return super().prompt(_renamed(row), **given)


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in row.items()}
