"""Marks of progress; a process that sets none for a long time hangs.

Beside them, the tasks of the prompts that the process works on, to name them if it dies; and
whether a signal has asked it to stop. Before its first update a step has changed no weights, so it
can be dropped: a resumed run asks the same prompts again. Generation, rewards and passes call
`drop_if_asked` between two pieces of work.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 1800.0
"""Silence that is allowed until the first prompt is answered, while weights are loaded."""


class Stopped(BaseException):
    """A signal ended the run; like KeyboardInterrupt, no handler of errors catches it.

    Args:
        signum: The number of the signal.
        checkpoint: The checkpoint to resume from; None if there is none.
    """

    def __init__(self, signum: int, checkpoint: Path | None = None) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.checkpoint = signum, checkpoint

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as a shell reports it."""
        return 128 + self.signum


class StoppedTogether(Stopped):
    """All ranks leave the run at the same place; the state of the last step can still be saved."""


_marks = 0
_last_s = time.monotonic()
_begun = False
_tasks = ""
_listener: Callable[[str], None] | None = None
_signum = 0
_droppable = False
_block = threading.local()
"""Whether this thread is in a `dropping` block."""


def mark() -> None:
    """Record progress of this process.

    Called when a stage of a step or a collective operation begins, and when it ends. So a rank that
    waits for the others has set one mark more than the rank that never began the collective.
    """
    global _marks, _last_s
    _marks += 1
    _last_s = time.monotonic()


def begin() -> None:
    """Say that loading is over: from now on, marks come every few seconds or minutes."""
    global _begun
    _begun = True
    mark()


def work_on(tasks: Iterable[str]) -> None:
    """Say which tasks the prompts have that are sampled, judged or trained on from now on."""
    global _tasks
    names = ", ".join(sorted(set(tasks)))
    if names != _tasks:
        _tasks = names
        if _listener is not None:
            _listener(names)


def tell_tasks(listener: Callable[[str], None]) -> None:
    """Call `listener` with the names of the tasks whenever they change."""
    global _listener
    _listener = listener


def count() -> int:
    """Return the number of marks so far."""
    return _marks


def silent_s() -> float:
    """Return the seconds since the last mark."""
    return time.monotonic() - _last_s


def hangs(limit_s: float) -> bool:
    """Return whether the last mark is longer ago than `limit_s`, or `START_S` while loading."""
    return silent_s() > (limit_s if _begun else max(limit_s, START_S))


def ask_to_stop(signum: int) -> None:
    """Ask this process to stop because of a signal; 0 takes it back."""
    global _signum
    _signum = signum


def signal_heard() -> int:
    """Return the number of the signal that has asked this process to stop, or 0."""
    return _signum


def may_drop(droppable: bool) -> None:
    """Say whether the step in progress can be dropped; the same on all ranks."""
    global _droppable
    _droppable = droppable


def asked() -> int:
    """Return the number of the signal if there was one and the step can be dropped, or 0."""
    return _signum if _droppable else 0


@contextmanager
def dropping() -> Iterator[None]:
    """Let `drop_if_asked` leave this block; see `ranks.dropping_together`."""
    before, _block.inside = _inside(), True
    try:
        yield
    except StoppedTogether:
        return
    finally:
        _block.inside = before


def drop_if_asked() -> None:
    """Leave the surrounding `dropping` block, if there is one and a signal has come."""
    if _inside() and asked():
        raise StoppedTogether(_signum)


def _inside() -> bool:
    return getattr(_block, "inside", False)
