"""Each rank's connection to rank 0: ends this process when any rank fails."""

import faulthandler
import os
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from g2rpo.launch import marks
from g2rpo.launch.coordinator import ANSWER_S, SETTLE_S, Coordinator
from g2rpo.launch.member import Member, born
from g2rpo.launch.messages import (
    Closed,
    Failed,
    Left,
    Message,
    Report,
    Stop,
    Stuck,
    Verdict,
    Working,
    packed,
    unpacked,
)
from g2rpo.wire import Wire

ORDERLY_S = 20.0
"""Seconds that a rank with an error of its own has to end in order (engines, loggers)."""
CLOSE_S = 10.0
"""Seconds that rank 0 waits at the end for the others, who may still read its store."""
COLLECTIVES = (os.sep.join(("torch", "distributed")), os.sep.join(("g2rpo", "ranks.py")))
PACKAGE = str(Path(__file__).parents[1])
LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))


def _on_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a process is watched.

    Args:
        folder: The run folder; stacks of hanging ranks are written there.
        hang_s: Seconds without a mark of progress after which all ranks end; None: never.
        say: Shows the reason to the user; called on one rank.
    """

    folder: Path
    hang_s: float | None
    say: Callable[[str], None] = _on_stderr


class Monitor:
    """Watches the connection to rank 0 in a thread, and this process's progress.

    Args:
        me: This process.
        first: Rank 0.
        wire: Connection to the coordinator of rank 0.
        coordinator: The coordinator, on rank 0 only.
    """

    def __init__(
        self,
        me: Member,
        first: Member,
        wire: Wire,
        coordinator: Coordinator | None = None,
    ) -> None:
        self.me, self.first = me, first
        self._watch: Watch | None = None
        self._wire, self._coordinator = wire, coordinator
        self._sending = threading.Lock()
        self._failing = self._left = self._told = False
        self._asked_s: float | None = None
        self._first_works = Working("")
        self._ended = threading.Event()
        self._send(me)
        marks.tell_tasks(lambda tasks: self._send(Working(tasks)))
        threading.Thread(target=self._run, name="monitor", daemon=True).start()

    def watch(self, watch: Watch) -> None:
        """Begin to look for missing progress."""
        self._watch = watch

    def fail(self, text: str, *, echo: bool = False, code: int = 1) -> None:
        """Report an error of this rank and wait until all ranks know which rank failed first.

        Args:
            text: What went wrong.
            echo: Whether the error probably follows from the failure of another rank.
            code: Exit code of the other ranks.
        """
        if self._failing or self._left:
            return
        self._failing = True
        if threading.current_thread() is threading.main_thread():
            # torchrun ends all others at once, but the reason has to be told first
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._send(Failed(text, echo, code))
        if not self._ended.wait(SETTLE_S + ANSWER_S):
            self._say(f"{self.me.name}: {text}")

    def _say(self, text: str) -> None:
        (self._watch.say if self._watch else _on_stderr)(text)

    def leave(self) -> None:
        """End the watch: this process has finished its part."""
        if self._left:
            return
        self._left = True
        self._send(Left())
        if self._coordinator is not None:
            begun = self._watch is not None and not self._failing
            self._coordinator.close(CLOSE_S if begun else 0.0)

    def _send(self, message: Message) -> None:
        with self._sending:
            try:
                self._wire.send(packed(message))
            except OSError:  # rank 0 has ended; the thread that reads will notice
                return

    def _run(self) -> None:
        while not self._left:
            if marks.signal_heard() and not self._told:
                self._told = True
                self._send(Stop(marks.signal_heard()))
            try:
                message = unpacked(self._wire.receive()[0]) if self._wire.poll(0.2) else None
            except (EOFError, OSError):
                if not self._left:
                    words = f"{self.first.name} ended: see its messages{self._first_works.words}"
                    self._end(Verdict(words, speaker=1))
                return
            if isinstance(message, Verdict):
                self._end(message)
            elif isinstance(message, Working):
                self._first_works = message
            elif isinstance(message, Stop):
                marks.ask_to_stop(message.signum)
            elif isinstance(message, Closed):
                if self._watch is None:  # rank 0 had nothing to run
                    os._exit(0)
                return
            elif isinstance(message, Report) or self._hangs():
                self._asked_s = self._asked_s or time.monotonic()
                self._send(self._report())
            elif self._asked_s and time.monotonic() > self._asked_s + 2 * ANSWER_S:
                words = (
                    f"{self.first.name} does not answer: it is stopped or stuck"
                    f"{self._first_works.words}"
                )
                self._end(Verdict(words, speaker=1, silent=(self.first,)))

    def _hangs(self) -> bool:
        return (
            self._asked_s is None
            and self._watch is not None
            and self._watch.hang_s is not None
            and marks.hangs(self._watch.hang_s)
        )

    def _report(self) -> Stuck:
        """Say where the main thread is, and write the stacks of all threads to the run folder."""
        if self._watch is not None:
            self._watch.folder.mkdir(parents=True, exist_ok=True)
            with (self._watch.folder / f"stack_rank{self.me.rank}.txt").open("w") as file:
                faulthandler.dump_traceback(file)
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        stack = traceback.extract_stack(frame) if frame is not None else []
        own = [entry for entry in stack if _is_own(entry.filename)]
        last = (own or list(stack) or [None])[-1]
        where = f"{last.name} ({last.filename}:{last.lineno})" if last else "an unknown place"
        waits = any(name in entry.filename for entry in stack for name in COLLECTIVES)
        return Stuck(marks.count(), where, waits, marks.silent_s())

    def _end(self, verdict: Verdict) -> None:
        """End this process, in order if its main thread is about to end by itself."""
        if self.me.rank == verdict.speaker:
            # in a thread: the main thread may hang with the lock of the log
            speaking = threading.Thread(target=self._say, args=(verdict.text,), daemon=True)
            speaking.start()
            speaking.join(5.0)
        for silent in verdict.silent:
            # only its own machine can end it; the start time makes sure of the process
            if (
                silent.host == self.me.host
                and silent != self.me
                and born(silent.pid) == silent.born
            ):
                os.kill(silent.pid, signal.SIGKILL)
        self._ended.set()
        if self._failing:
            time.sleep(ORDERLY_S)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(verdict.code)


def _is_own(file: str) -> bool:
    """Return whether a source file belongs to g2rpo or to a plug-in, and not to a library."""
    return file.startswith(PACKAGE) or not file.startswith(LIBRARIES)
