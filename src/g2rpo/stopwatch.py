"""The time of a step per stage, without counting any second twice, and the memory of the process.

    with timed("decode"): ...        or        @timed("vision")

A nested stage pauses the clock of the outer stage. With `whole=True`, nested stages count for the
outer stage instead. On a GPU, the start and end of a stage synchronize the device.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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

MOST_BLOCKS = 10_000
"""Number of blocks that are kept for `taken_blocks`; older ones are forgotten."""


class Block(NamedTuple):
    """A block of a stage that was inside no other, between two readings of the clock."""

    stage: str
    start_s: float
    """Reading of `time.perf_counter`."""
    end_s: float


class _Clock(threading.local):
    """The state of the stopwatch; every thread has its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.open: list[tuple[str, bool]] = []
        self.since = self.began = 0.0
        self.blocks: deque[Block] = deque(maxlen=MOST_BLOCKS)


_clock = _Clock()


@contextmanager
def timed(name: str, *, whole: bool = False) -> Iterator[None]:
    """Count the time inside this block for the stage `name`, in this thread.

    Args:
        name: One of `STAGES`; time under other names is measured but not reported.
        whole: Whether the time of nested stages counts for this stage.
    """
    if _clock.open and _clock.open[-1][1]:
        yield
        return
    _book()
    _mark()
    if not _clock.open:
        _clock.began = _clock.since
    _clock.open.append((name, whole))
    try:
        yield
    finally:
        _book()
        _mark()
        _clock.open.pop()
        if not _clock.open:
            _clock.blocks.append(Block(name, _clock.began, _clock.since))


def taken() -> dict[str, float]:
    """Return seconds per stage since the last call, and reset all clocks of this thread."""
    _book()
    found = {name: _clock.seconds.get(name, 0.0) for name in STAGES}
    _clock.seconds.clear()
    return found


def taken_blocks() -> list[Block]:
    """Return the blocks of this thread that ended since the last call, in order."""
    found = [*_clock.blocks]
    _clock.blocks.clear()
    return found


def _book() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    now = time.perf_counter()
    if _clock.open:
        stage = _clock.open[-1][0]
        _clock.seconds[stage] = _clock.seconds.get(stage, 0.0) + now - _clock.since
    _clock.since = now


def _mark() -> None:
    # only the main thread, because ranks compare their numbers of marks
    if threading.current_thread() is threading.main_thread():
        marks.mark()


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
