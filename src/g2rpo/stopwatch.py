"""Where a step's time goes: seconds by stage, without counting any of them twice.

    with timed("decode"): ...        or        @timed("vision")

A stage that begins inside another one stops the outer one's clock. With `whole=True` it keeps
everything that begins inside it: the forward passes of a probe are the probe's. On a GPU every
beginning and end waits for the work given out before.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
"""Those of a step, in its order; each is logged as `time/<stage>_s`."""

_seconds: dict[str, float] = {}
_open: list[tuple[str, bool]] = []
_since = 0.0


@contextmanager
def timed(name: str, *, whole: bool = False) -> Iterator[None]:
    """Books the time until its end under a name."""
    if _open and _open[-1][1]:
        yield
        return
    _book()
    _open.append((name, whole))
    try:
        yield
    finally:
        _book()
        _open.pop()


def taken() -> dict[str, float]:
    """Seconds by stage since the last call; the clocks start again from 0."""
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
