"""The interface between sources and record formats: what a format says about one row."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from g2rpo.records import Prompt


@runtime_checkable
class RowFormat(Protocol):
    """Says which prompt a row stands for, and which rows cannot be used."""

    fields: frozenset[str]
    """Fields that are read."""

    def key(self, row: Mapping[str, Any]) -> Any:
        """Return the id of a row, unique within its file; None if the row has no id."""

    def task(self, row: Mapping[str, Any]) -> str:
        """Return the name of the task; raises `BadRecord` if the row names none."""

    def check(self, row: Mapping[str, Any]) -> None:
        """Raise `BadRecord` with the field and the reason if the row cannot be used."""

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Raise `BadRecord` for a bad name of a task or an unknown answer type.

        Args:
            values: Fields that are the same for every row.
        """

    def unread(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the fields of a row that nothing reads."""

    def warning(self, row: Mapping[str, Any]) -> str:
        """Return what looks wrong about a row that passed `check`; empty if nothing does.

        Similar rows get the same sentence, so that they can be counted.
        """

    def prompt(self, row: Mapping[str, Any], *, id: str, meta: Mapping[str, Any]) -> Prompt:
        """Return the prompt of a row that passed `check`; image paths are those of the row."""
