"""Griffe extension: examples in docstrings (`>>> f(1)`) become code blocks, lists become lists."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^>>> .*\n(?:^(?!\s*$).*\n?)*\n*)+", re.MULTILINE)
_LIST = re.compile(r"^(?!- )(\S.*)\n(?= {0,3}- )", re.MULTILINE)
"""A line of text with the first item of a list under it; Markdown wants an empty line between."""


class Doctests(griffe.Extension):
    """Makes Markdown of what docstrings write without it: doctests, and lists behind a line."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = separated(fenced(obj.docstring.value))


def fenced(text: str) -> str:
    """Return a docstring with a fence around each group of examples."""
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n\n", text)


def separated(text: str) -> str:
    """Return a docstring with an empty line before each list."""
    return _LIST.sub(r"\1\n\n", text)
