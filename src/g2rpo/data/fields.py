"""Finds fields of a record that nothing reads: misspelled fields and media are errors, others are
logged once.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from g2rpo.data.rows import BadRecord

_MEDIA = re.compile(
    r"(?:^|_)(?:image|img|picture|photo|video|audio|frame)s?(?:_?(?:path|file|url|uri|byte|base64|list|name|filename|data))?s?(?:_?\d+)?$"
)
"""Matches `videos`, `image_path` or `img_1`, but not `image_id` or `image_width`, which describe an
image.
"""


def is_media(name: str) -> bool:
    """Return whether the name of a field says that it holds images, videos or sound.

    >>> is_media("image_path"), is_media("videos"), is_media("image_width"), is_media("source")
    (True, True, False, False)
    """
    return (
        _MEDIA.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_"))
        is not None
    )


def unread_fields(row: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return the fields of a record that nothing reads, such as `source` or `split`.

    Args:
        row: The record, under the names that its author gave.
        known: Fields that are read.

    Raises:
        BadRecord: If a field that is not empty is named like media, or almost like a known field
            that the record lacks.
    """
    unread = [
        name
        for name, value in row.items()
        if name not in known and value is not None and value not in ("", [])
    ]
    missing = [name for name in known if row.get(name) in (None, "", [])]
    for name in unread:
        if is_media(name):
            raise BadRecord(
                f"{name}: unknown field; the nearest one is"
                f" 'images'{_ONLY_IMAGES if _is_moving(name) else ''}"
            )
        near = [other for other in _SAME.get(name.lower(), ()) if other in missing]
        near += get_close_matches(name.lower(), missing, n=1, cutoff=0.8)
        if near:
            raise BadRecord(f"{name}: unknown field; is it {near[0]!r}?")
    return unread


def columns_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record that reward functions get: all but images and other media.

    >>> columns_in({"text": "how many?", "images": ["a.png"], "unit": "cm", "thumbnail": b"..."})
    {'text': 'how many?', 'unit': 'cm'}
    """
    return {
        str(name): value
        for name, value in row.items()
        if not is_media(name) and name != "path" and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    """Return whether a value is text, numbers, or holds such, and no encoded image."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value[:1]))
    return isinstance(value, str | bool | int | float | None)


_SAME = {
    **dict.fromkeys(
        ("choices", "choice", "answer_options", "answer_choices", "candidates"), ("options",)
    ),
    **dict.fromkeys(("question", "query", "prompt", "instruction"), ("text", "problem")),
    **dict.fromkeys(("ground_truth", "gold", "gt", "gt_answer", "gold_answer"), ("answer",)),
    "system_prompt": ("system",),
}
"""Names of other data sets for our fields."""
_ONLY_IMAGES = ", and videos and sound are not supported"


def _is_moving(name: str) -> bool:
    return re.search("video|audio|frame", name.lower()) is not None


class Notes:
    """Collects what is logged once per source: unread fields and suspicious prompts."""

    def __init__(self) -> None:
        self.unread: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()

    def look(self, format: Any, row: Mapping[str, Any]) -> None:
        """Count the unread fields and the warning of a row that passed its check."""
        self.unread.update(format.unread(row))
        if warning := format.warning(row):
            self.warnings[warning] += 1

    def lines(self, label: str) -> list[str]:
        """Return the sentences for the log."""
        fields = ", ".join(f"{name} ({count})" for name, count in self.unread.most_common())
        read = (
            [
                f"{label}: fields that nothing but reward=functions reads, with the number of"
                f" records that have them: {fields}"
            ]
            if fields
            else []
        )
        return read + [
            f"{label}: {count} records: {warning}" for warning, count in self.warnings.items()
        ]
