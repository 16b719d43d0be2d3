"""The time of a step in seconds per stage, without counting any second twice.

    with timed("decode"): ...        or        @timed("vision")

A nested stage pauses the clock of the outer stage. With `whole=True`, nested stages count for the
outer stage instead. On a GPU, the start and end of a stage synchronize the device.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from g2rpo.launch import marks

STAGES = (
    "data",
    "vision",
    "prefill",
    "decode",
    "reward",
    "advantage",
    "old_logprobs",
    "forward",
    "backward",
    "optimizer",
    "sync",
)
"""The stages of a step in order; each is logged as `time/<stage>_s`."""

_seconds: dict[str, float] = {}
_open: list[tuple[str, bool]] = []
_since = 0.0


@contextmanager
def timed(name: str, *, whole: bool = False) -> Iterator[None]:
    """Count the time inside this block for the stage `name`.

    Args:
        name: One of `STAGES`; time under other names is measured but not reported.
        whole: Whether the time of nested stages counts for this stage.
    """
    if _open and _open[-1][1]:
        yield
        return
    _book()
    marks.mark()
    _open.append((name, whole))
    try:
        yield
    finally:
        _book()
        marks.mark()
        _open.pop()


def taken() -> dict[str, float]:
    """Return seconds per stage since the last call, and reset all clocks."""
    _book()
    found = {name: _seconds.get(name, 0.0) for name in STAGES}
    _seconds.clear()
    return found


def _book() -> None:
    global _since
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    now = time.perf_counter()
    if _open:
        _seconds[_open[-1][0]] = _seconds.get(_open[-1][0], 0.0) + now - _since
    _since = now
