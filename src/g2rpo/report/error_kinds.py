"""The verdict on a completion in one word: the kind of its error, or right."""

import math

VERDICTS = ("right", "partly right", "wrong", "format", "truncated", "unreadable")
NEARLY = 1e-9


def verdict(accuracy: float, form: float, *, finished: bool = True, failed: bool = False) -> str:
    """Return the first that applies of unreadable, truncated, format, wrong, partly right, right.

    Args:
        accuracy: In [0, 1]; NaN if it could not be computed.
        form: Whether the completion is in the requested format: 1 if it is; NaN if no one asked.
        finished: False if the completion was cut at the maximum length.
        failed: True if the reward raised an error.

    >>> verdict(1.0, 1.0), verdict(0.4, 1.0), verdict(1.0, 0.0), verdict(0.0, 0.0, finished=False)
    ('right', 'partly right', 'format', 'truncated')
    """
    if failed or not math.isfinite(accuracy):
        return "unreadable"
    if not finished:
        return "truncated"
    if form < 1 - NEARLY:
        return "format"
    return "right" if accuracy >= 1 - NEARLY else "wrong" if accuracy <= NEARLY else "partly right"
