"""Prompts as JSON for worker processes, and back.

JSON's own values travel as they are, and numbers of other libraries as Python's. Tuples, sets,
bytes, dates, times, decimals, paths, and mappings whose keys are not texts keep their type. Any
other object is refused with its place in the prompt. Of images, only paths travel.
"""

import base64
import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any

from g2rpo.prompt import Prompt

KIND = "$kind"
"""Key of a mapping that stands for an object of another type; its value is under `VALUE`."""
VALUE = "$value"
_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (bytes, lambda own: base64.b64encode(own).decode(), base64.b64decode),
    "datetime": (dt.datetime, dt.datetime.isoformat, dt.datetime.fromisoformat),
    "date": (dt.date, dt.date.isoformat, dt.date.fromisoformat),
    "time": (dt.time, dt.time.isoformat, dt.time.fromisoformat),
    "timedelta": (
        dt.timedelta,
        lambda own: [own.days, own.seconds, own.microseconds],
        lambda parts: dt.timedelta(*parts),
    ),
    "decimal": (Decimal, str, Decimal),
    "path": (PurePath, str, Path),
}
"""Type, its JSON, and back; a subclass comes before its base."""


def plain_prompt(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt as plain values for JSON.

    Raises:
        TypeError: with the place of an object that cannot be sent.
    """
    paths = [image for image in prompt.images if isinstance(image, str | os.PathLike)]
    sent = replace(prompt, images=paths)
    return {field.name: _plain(getattr(sent, field.name), field.name) for field in fields(sent)}


def prompt_of(plain: Mapping[str, Any]) -> Prompt:
    """Undo `plain_prompt`."""
    return Prompt(**{name: _value(own) for name, own in plain.items()})


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral | Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, Mapping):
        parts = {key: _plain(own, f"{place}[{key!r}]") for key, own in value.items()}
        if all(isinstance(key, str) for key in parts) and KIND not in parts:
            return parts
        keys = [_plain(key, f"a key of {place}") for key in parts]
        return {KIND: "mapping", VALUE: list(zip(keys, parts.values(), strict=True))}
    if isinstance(value, list | tuple):
        items = [_plain(own, f"{place}[{number}]") for number, own in enumerate(value)]
        return items if isinstance(value, list) else {KIND: "tuple", VALUE: items}
    if isinstance(value, set | frozenset):
        return {KIND: "set", VALUE: [_plain(own, f"an element of {place}") for own in value]}
    for name, (kind, there, _) in _KINDS.items():
        if isinstance(value, kind):
            return {KIND: name, VALUE: there(value)}
    raise TypeError(f"{place} is a {type(value).__qualname__}; keep in it only what JSON has")


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_value(own) for own in plain]
    if not isinstance(plain, dict):
        return plain
    if KIND not in plain:
        return {name: _value(own) for name, own in plain.items()}
    kind, own = plain[KIND], plain[VALUE]
    if kind == "mapping":
        return {_value(key): _value(item) for key, item in own}
    if kind in ("tuple", "set"):
        return {"tuple": tuple, "set": set}[kind](_value(own))
    return _KINDS[kind][2](own)
