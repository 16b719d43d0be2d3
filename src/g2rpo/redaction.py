"""Keeps keys out of logs, files and trackers: a known value is replaced by the variable's name."""

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

SHORTEST = 8
"""Characters of a value that is replaced; shorter ones occur in ordinary text."""
_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(?:_|$)", re.I)
_USER_INFO = re.compile(r"(?<=://)[^/?#@\s:]*+:[^/?#@\s]++@")


def redacted(text: str) -> str:
    """Return the text without the values of secret environment variables and passwords in URLs.

    A variable is secret by its name: a part of it is KEY, TOKEN, SECRET, PASSWORD or CREDENTIALS.

    >>> os.environ["SOME_API_KEY"] = "sk-0123456789"
    >>> redacted("refused sk-0123456789 at http://me:mine@host/v1")
    'refused <SOME_API_KEY> at http://***@host/v1'
    >>> del os.environ["SOME_API_KEY"]
    """
    for name, value in _secrets():
        text = text.replace(value, f"<{name}>")
    return _USER_INFO.sub("***@", text)


def redacted_values(value: Any) -> Any:
    """Return nested mappings and lists with every text redacted."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: redacted_values(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(own) for own in value]
    return value


def redact_logs() -> None:
    """Redact every record that the handlers of the root logger write, tracebacks included."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, _Redact) for known in handler.filters):
            handler.addFilter(_Redact())


class _Redact(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by its redacted form; every record passes."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return True  # logging itself reports a record whose arguments do not fit
        if (clean := redacted(text)) != text:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return True


def _secrets() -> list[tuple[str, str]]:
    """Names and values of secret variables; the longest value first, since it may hold another."""
    found = [(name, value.strip()) for name, value in os.environ.items() if _NAME.search(name)]
    kept = [(name, value) for name, value in found if len(value) >= SHORTEST]
    return sorted(kept, key=lambda item: -len(item[1]))
