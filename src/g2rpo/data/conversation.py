"""Records whose question is a list of turns: `messages` with role and content, or `conversations`
with from and value.

Both are read in either form, with content as text or as a list of parts. The last turn of the user
is the question, what the assistant says after it the gold answer (unless the record has one),
everything before it the history.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.data.record_images import items_of
from g2rpo.data.rows import BadRecord
from g2rpo.prompt import MARKER

TURN_FIELDS = ("messages", "conversations", "problem")
"""Fields that can hold turns."""
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}


def unfolded(row: Mapping[str, Any], question: str = "problem") -> Mapping[str, Any]:
    """Return a record whose turns are replaced by `problem`, `system` and `history`.

    `answer` and `images` are added if the turns hold them. A record without turns is returned as
    it is.

    Args:
        row: The record.
        question: Name of the field `problem` as the author of the record knows it, for messages.

    Raises:
        BadRecord: When a turn is neither the system's, the user's nor the assistant's, or nobody
            asks anything.
    """
    field = next(
        (name for name in TURN_FIELDS if row.get(name) and not isinstance(row[name], str)), None
    )
    if field is None:
        return row
    shown = question if field == "problem" else field
    images: list[Any] = []
    turns = [
        _turn(turn, number, shown, images)
        for number, turn in enumerate(_listed(row[field], shown), 1)
    ]
    system = "\n".join(text for role, text in turns if role == "system")
    spoken = [(role, text) for role, text in turns if role != "system"]
    last = max((place for place, (role, _) in enumerate(spoken) if role == "user"), default=None)
    if last is None:
        raise BadRecord(
            f"{shown}: expected a turn of the user, got roles {[role for role, _ in turns]}"
        )
    found = {
        "problem": spoken[last][1],
        "system": row.get("system") or system,
        "history": tuple(spoken[:last]),
    }
    if len(spoken) > last + 1 and row.get("answer") is None and row.get("solution") is None:
        found["answer"] = spoken[last + 1][1]
    if images and not any(row.get(name) for name in ("images", "image", "path")):
        found["images"] = images
    return {**row, **found}


def _listed(found: Any, field: str) -> Sequence[Any]:
    if isinstance(
        found, Mapping
    ):  # a list of structs, as some data sets store it: one list for each key
        lists = list(found.values())
        if not all(isinstance(one, list | tuple) and len(one) == len(lists[0]) for one in lists):
            raise BadRecord(
                f"{field}: expected lists of one length under {', '.join(map(repr, found))}, got"
                f" {str(found)[:100]}"
            )
        return [dict(zip(found, values, strict=True)) for values in zip(*lists, strict=True)]
    if not isinstance(found, list | tuple):
        raise BadRecord(f"{field}: expected a list of turns, got {type(found).__name__}")
    return found


def _turn(turn: Any, number: int, field: str, images: list[Any]) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise BadRecord(
            f"{field}: turn {number}: expected an object with role and content, got"
            f" {str(turn)[:100]!r}"
        )
    said = turn.get("role", turn.get("from"))
    if not isinstance(said, str) or said not in ROLES:
        raise BadRecord(
            f"{field}: turn {number}: expected a role out of {', '.join(ROLES)}, got {said!r}"
        )
    content = turn.get("content", turn.get("value"))
    if isinstance(content, str) or content is None:
        return ROLES[said], content or ""
    if not isinstance(content, list | tuple):
        raise BadRecord(
            f"{field}: turn {number}: expected a text or a list of parts, got"
            f" {str(content)[:100]!r}"
        )
    return ROLES[said], "".join(_part(part, f"{field}: turn {number}", images) for part in content)


def _part(part: Any, where: str, images: list[Any]) -> str:
    """The text of a part; an image is `<image>` there, and goes into `images` if the part holds
    it.
    """
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind in ("image", "image_url"):
        images.extend(
            items_of(
                part.get("image") or part.get("image_url") or part.get("url") or part.get("path")
            )
        )
        return MARKER
    raise BadRecord(f"{where}: expected parts of type text or image, got {str(part)[:100]!r}")
