"""Records with a completion to imitate, such as a reasoning trace, for a cold start.

    {"text": "How many?", "images": ["a.png"], "completion": "<think>...</think><answer>3</answer>"}
    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

Everything else is as the format of the records says. Task, answer and answer type may be missing,
because nothing is judged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.data.conversation import TURN_FIELDS, unfolded
from g2rpo.data.row_format import RowFormat
from g2rpo.data.rows import BadRecord
from g2rpo.records import Prompt

COMPLETION = "completion"
"""Field of a record, and key in `Prompt.meta`."""
TASK = "traces"
"""Task of records that name none."""


class Traces:
    """Reads records in another format, and takes the completion to imitate from each.

    It is a `RowFormat`, and the `Demonstrator` of its prompts.

    Args:
        format: Reads everything but the completion.
    """

    def __init__(self, *, format: RowFormat) -> None:
        self.format = format
        self.fields = format.fields | {COMPLETION}
        self.written: Mapping[str, str] = getattr(format, "written_as", {})

    def demonstrate(self, prompt: Prompt) -> str:
        """Return the completion of a prompt."""
        return str(prompt.meta[COMPLETION])

    def key(self, row: Mapping[str, Any]) -> Any:
        """Return the id of a row; None if it has none."""
        return self.format.key(row)

    def task(self, row: Mapping[str, Any]) -> str:
        """Return the task of a row, `traces` if it names none."""
        return self.format.task(self._whole(row))

    def check(self, row: Mapping[str, Any]) -> None:
        """Raise `BadRecord` if a row gives no prompt or no completion."""
        self.format.check(self._whole(row))

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Raise `BadRecord` for a bad name of a task or an unknown answer type."""
        self.format.check_values(values)

    def unread(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the fields of a row that nothing reads."""
        return self.format.unread(self._whole(row))

    def warning(self, row: Mapping[str, Any]) -> str:
        """Return what looks wrong about a row that passed `check`; empty if nothing does."""
        return self.format.warning(self._whole(row))

    def prompt(self, row: Mapping[str, Any], *, id: str, meta: Mapping[str, Any]) -> Prompt:
        """Return the prompt of a row that passed `check`, with its completion in `meta`."""
        found = {**meta, COMPLETION: completion_of(row)}
        return self.format.prompt(self._whole(row), id=id, meta=found)

    def _whole(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row without its completion, and with an answer that is not judged."""
        whole = {name: value for name, value in row.items() if name != COMPLETION}
        filled = {"answer": completion_of(row), self._written("problem_type"): "open ended"}
        whole |= {name: value for name, value in filled.items() if _empty(whole.get(name))}
        task = self._written("task_type")
        try:
            self.format.task(whole)
        except BadRecord:
            whole |= {task: TASK} if _empty(whole.get(task)) else {}
        return whole

    def _written(self, field: str) -> str:
        return self.written.get(field, field)


def completion_of(row: Mapping[str, Any]) -> str:
    """Return the completion of a record: of `completion`, as text or turns, or of its last turn.

    Raises:
        BadRecord: If there is none.
    """
    found = row.get(COMPLETION)
    if isinstance(found, list | tuple):
        found = unfolded({"messages": [{"role": "user", "content": "?"}, *found]}).get("answer")
    elif found is None:
        found = unfolded({name: row.get(name) for name in TURN_FIELDS}).get("answer")
    if not isinstance(found, str) or not found.strip():
        raise BadRecord(
            f"{COMPLETION}: expected the text to imitate, or messages that end with a turn of the"
            f" assistant, got {str(found)[:100]!r}"
        )
    return found


def _empty(value: object) -> bool:
    return value is None or value == ""
