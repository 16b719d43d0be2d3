"""The time of a step per stage, without counting any second twice, and the memory of the process.

    with timed("decode"): ...        or        @timed("vision")

A nested stage pauses the clock of the outer stage. With `whole=True`, nested stages count for the
outer stage instead. On a GPU, the start and end of a stage synchronize the device. Only the main
thread is timed: what other threads do beside it takes no time of the step.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    if threading.current_thread() is not threading.main_thread():
        marks.mark()
        yield
        marks.mark()
        return
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


def resident(field: str = "VmRSS") -> int:
    """Return the resident bytes of this process, or its peak (`VmHWM`); 0 outside of Linux."""
    status = Path("/proc/self/status")
    lines = (
        [line for line in status.read_text().splitlines() if line.startswith(field)]
        if status.exists()
        else []
    )
    return int(lines[0].split()[1]) * 1024 if lines else 0


def peak_bytes() -> int:
    """Return the peak bytes of this process: allocated by torch on a GPU, else resident."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resident("VmHWM")
