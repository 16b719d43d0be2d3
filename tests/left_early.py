"""Sends a signal into work that takes long."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from g2rpo.launch import marks

LIMIT_S = 10.0
"""The work of the tests takes at least three times as long."""


def assert_left(work: Callable[[], Any]) -> None:
    """Fail unless `work` is left soon after a signal in a step that can be dropped."""
    ended, begun_s = [], time.monotonic()
    marks.may_drop(True)
    timer = threading.Timer(0.3, marks.ask_to_stop, (signal.SIGTERM,))
    timer.start()
    try:
        with marks.dropping():
            work()
            ended.append("by itself")
    finally:
        timer.join()
        marks.ask_to_stop(0)
        marks.may_drop(False)
    assert not ended
    assert time.monotonic() - begun_s < LIMIT_S
