"""The gold answer of a record: one text, or several that count alike."""

import json
import math
from collections.abc import Mapping
from typing import Any

from g2rpo.data.rows import BadRecord

FIELDS = ("answer", "solution")
"""Where a record has its gold answer; the first that holds something counts."""
JSON_KINDS = ("spatial grounding", "segmentation")
"""Answer types whose gold is an object or a list of numbers, written as JSON."""
CUSTOM = "custom"
"""Answer type that only a reward of the user reads; its gold is any value, or missing."""


def read_golds(row: Mapping[str, Any], kind: str) -> list[str]:
    """Return the gold answers of a record, the first of which is shown as its answer.

    Args:
        row: A record in the format of OneThinker.
        kind: Its answer type, as `answer_kind` names it.

    Raises:
        BadRecord: When there is none, or one that is neither text nor a number.
    """
    field = next((name for name in FIELDS if row.get(name) is not None), None)
    if field is None and kind == CUSTOM:
        return [""]
    if field is None:
        raise BadRecord("answer: it is missing or null")
    found = row[field]
    if kind in (*JSON_KINDS, CUSTOM):
        golds = [found if isinstance(found, str) else json.dumps(found)]
    else:
        golds = (
            [_text(field, gold) for gold in found if gold is not None]
            if isinstance(found, list | tuple)
            else [_text(field, found)]
        )
    plain = [gold.replace("<answer>", "").replace("</answer>", "").strip() for gold in golds]
    filled = list(dict.fromkeys(gold for gold in plain if gold))
    if not filled:
        raise BadRecord(f"{field}: it is empty")
    return filled


def _text(field: str, gold: Any) -> str:
    if isinstance(gold, str):
        return gold
    if isinstance(gold, bool) or not isinstance(gold, int | float) or not math.isfinite(gold):
        hint = "; write the word that is asked for, such as Yes" if isinstance(gold, bool) else ""
        raise BadRecord(
            f"{field}: expected a text, a number or a list of them, got"
            f" {json.dumps(gold)[:100]}{hint}"
        )
    return json.dumps(gold)
