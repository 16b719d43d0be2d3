"""Counts prompts that were left out, by task, and keeps the first reasons."""

import logging
from collections import Counter
from typing import Any

from g2rpo.data.rows import BadRecord

log = logging.getLogger("g2rpo")
ON_ERROR = ("raise", "skip")
LISTED = 100
"""Maximum number of reasons that are kept; further ones are only counted."""

LONGEST = 1000
"""Characters of a reason; a longer one quotes a record at length, and loses its middle."""


class Skips:
    """Prompts that are not served.

    Args:
        on_error: `raise` at the first record that cannot be used, or `skip` those and count them. A
            prompt that is too long is not an error: it is left out and counted either way.
        remedy: Last sentence of the message about a broken record.
        quiet: Whether reasons are kept without a warning in the log.
    """

    def __init__(
        self,
        *,
        on_error: str = "raise",
        remedy: str = "Mend or drop the record, or set data.on_error=skip.",
        quiet: bool = False,
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(
                f"data.on_error: expected one of {', '.join(ON_ERROR)}, got {on_error!r}"
            )
        self.on_error = on_error
        self.remedy = remedy
        self.quiet = quiet
        self.unusable_prompts: Counter[str] = Counter()
        self.long_prompts: Counter[str] = Counter()
        self.records: list[str] = []

    def unusable(self, task: str, reason: str) -> None:
        """Count a broken record. Raises `BadRecord` if `on_error` is `raise`."""
        if len(reason) > LONGEST:
            reason = f"{reason[: LONGEST - 300]} [...] {reason[-300:]}"
        if self.on_error == "raise":
            raise BadRecord(f"{reason}. {self.remedy}")
        self._note(self.unusable_prompts, task, reason)

    def too_long(self, task: str, reason: str) -> None:
        """Count a prompt over the limit; it is never cut, because that would cut image tokens."""
        self._note(self.long_prompts, task, reason)

    def summary(self) -> dict[str, Any]:
        """Return `{"unusable": {task: count}, "too_long": {...}, "records": [reason, ...]}`."""
        return {
            "unusable": dict(self.unusable_prompts),
            "too_long": dict(self.long_prompts),
            "records": list(self.records),
        }

    def load_summary(self, found: dict[str, Any]) -> None:
        """Continue counting from what `summary` returned."""
        self.unusable_prompts, self.long_prompts = (
            Counter(found["unusable"]),
            Counter(found["too_long"]),
        )
        self.records = list(found["records"])

    def _note(self, counts: Counter[str], task: str, reason: str) -> None:
        counts[task] += 1
        if len(self.records) < LISTED:
            self.records.append(reason)
            if not self.quiet:
                log.warning("left out: %s", reason)


def merged(*found: dict[str, Any]) -> dict[str, Any]:
    """Add up several summaries."""
    return {
        "unusable": dict(sum((Counter(one["unusable"]) for one in found), Counter())),
        "too_long": dict(sum((Counter(one["too_long"]) for one in found), Counter())),
        "records": [reason for one in found for reason in one["records"]][:LISTED],
    }


def skips_of(source: Any) -> Skips:
    """Return a new count with the `on_error` of the source; a source like the gym has none."""
    return (
        Skips(on_error=source.skips.on_error)
        if hasattr(source, "skips")
        else Skips(remedy="Mend or drop the record.")
    )


def index_skips(source: Any) -> dict[str, Any]:
    """Return the `Skips.summary` of the records that a source left out at the start."""
    return source.skips.summary() if hasattr(source, "skips") else Skips().summary()
