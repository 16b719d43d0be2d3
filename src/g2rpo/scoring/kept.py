"""A cache of what functions of one text return, which keeps no long texts."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

LONGEST = 2500
"""Characters of the longest text that is kept."""
MOST = 4096
"""Number of texts that are kept for each function: at most 10 MB of ASCII."""
_Result = TypeVar("_Result")


def kept(function: Callable[[str], _Result]) -> Callable[[str], _Result]:
    """Return the function with a cache: groups share gold answers, and often their answers.

    >>> kept(len)("four")
    4
    """
    cached = lru_cache(maxsize=MOST)(function)

    @wraps(function)
    def found(text: str) -> _Result:
        return cached(text) if len(text) <= LONGEST else function(text)

    return found
