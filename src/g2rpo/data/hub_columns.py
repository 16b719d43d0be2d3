"""The columns of a data set under our field names."""

import logging
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from g2rpo.data.fields import is_media
from g2rpo.data.record_images import IMAGE_FIELDS
from g2rpo.data.row_format import RowFormat
from g2rpo.data.rows import BadRecord

log = logging.getLogger("g2rpo")


class HubColumns:
    """Maps the columns of a data set to our field names.

    Args:
        columns: Our field (`text`, `images`, `answer`, `answer_type`, `task`, `options`, `id`) to
            the column that holds it.
        values: Fields that are the same for every row, such as `{task: chart, answer_type:
            numerical}`.
        root: Folder that image paths are relative to, if a column holds paths.
    """

    def __init__(
        self,
        *,
        columns: Mapping[str, str],
        values: Mapping[str, Any] | None = None,
        root: str | None = None,
    ) -> None:
        twice = set(columns) & set(values or {})
        if twice:
            raise ValueError(f"data.values: {', '.join(sorted(twice))} is in data.columns already")
        self.columns = dict(columns)
        self.values = dict(values or {})
        self.root = Path(root) if root else None

    def check_fields(self, format: RowFormat) -> None:
        """Raise `ValueError` for a field that the format does not read, or a value it refuses."""
        for key, names in (("columns", self.columns), ("values", self.values)):
            for name in names:
                if name not in format.fields:
                    hint = _nearest(name, format.fields, "expected some of")
                    raise ValueError(f"data.{key}.{name}: unknown field{hint}")
        try:
            format.check_values(self.values)
        except BadRecord as error:
            raise ValueError(f"data.values.{error}") from None

    def check_against(self, names: Sequence[str]) -> None:
        """Raise `ValueError` for a column that the data set does not have.

        A column that seems to hold images but is not read is logged as a warning.
        """
        image_fields = {*IMAGE_FIELDS, "messages", "conversations"}
        has_images = bool(image_fields & (self.columns.keys() | self.values.keys()))
        media = [name for name in names if is_media(name) and name not in self.columns.values()]
        if media and not has_images:
            log.warning(
                "data.columns.images: the data set has a column %r, and nothing reads it; set"
                " data.columns.images=%s, or +data.values.images=[] to train on the text alone",
                media[0],
                media[0],
            )
        for field, column in self.columns.items():
            if column not in names:
                hint = _nearest(column, names, "it has")
                raise ValueError(
                    f"data.columns.{field}: the data set has no column {column!r}{hint}"
                )

    def with_columns(self, reason: str) -> str:
        """Return a reason of a `BadRecord` in which a field has the name of its column beside it.

        >>> HubColumns(columns={"answer": "label"}).with_columns("answer: it is empty")
        "answer (column 'label'): it is empty"
        """
        fields, colon, rest = reason.partition(":")
        names = [
            f"{name} (column {self.columns[name]!r})"
            if self.columns.get(name, name) != name
            else name
            for name in fields.split(", ")
        ]
        return ", ".join(names) + colon + rest

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record under our field names; columns that were not loaded are missing."""
        return {
            field: record[column] for field, column in self.columns.items() if column in record
        } | self.values


def _nearest(name: str, known: Collection[str], words: str) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; is it {near[0]!r}?" if near else f"; {words} {', '.join(known)}"
