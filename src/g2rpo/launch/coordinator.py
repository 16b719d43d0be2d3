"""Rank 0's end of the connections to all ranks: decides which rank failed and tells the others.

A connection closes at the moment its process ends, however it ends. So a killed rank is known at
once, and no busy rank is taken for a dead one.

Messages are JSON (`messages.py`, `g2rpo/wire.py`), and nothing is unpickled. Only this machine can
connect, unless the run has several nodes; and who connects must prove the key of the run.
"""

import os
import secrets
import socket
import threading
import time
from multiprocessing.connection import wait

from g2rpo.launch.member import Member
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

SETTLE_S = 1.0
"""Seconds to wait for further reports after the first failure: when a rank dies, the others soon
fail in a collective operation, and their reports may come first."""
ANSWER_S = 5.0
"""Seconds in which every rank must say where it is, once one of them hangs."""
ADMIT_S = 10.0
"""Seconds in which whoever connects must prove that it belongs to the run."""


class Coordinator:
    """Accepts the connections of all ranks and ends all of them when one fails.

    Args:
        me: Rank 0.
        wait_s: Seconds in which all ranks must connect.
    """

    def __init__(self, me: Member, wait_s: float) -> None:
        self.me, self.wait_s = me, wait_s
        self.key = secrets.token_bytes(16)
        host = "127.0.0.1" if me.num_nodes == 1 else "0.0.0.0"  # noqa: S104  other machines connect
        self._listener = socket.create_server((host, 0), backlog=2 * me.world_size)
        self.port: int = self._listener.getsockname()[1]
        self._deadline_s = time.monotonic() + wait_s
        self._open: dict[Wire, Member | None] = {}
        self._came: dict[int, Member] = {}
        self._working: dict[int, Working] = {}
        self._left: set[int] = set()
        self._failed: dict[int, Failed] = {}
        self._stuck: dict[int, Stuck] = {}
        self._first_s: float | None = None
        self._asked_s: float | None = None
        self._closed = False
        for work in (self._accept, self._run):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def close(self, wait_s: float) -> None:
        """Wait until the other ranks have finished too, at most `wait_s`; then leave them alone."""
        deadline_s = time.monotonic() + wait_s
        while len(self._left) < self.me.world_size and time.monotonic() < deadline_s:
            time.sleep(0.02)
        self._closed = True
        self._tell(Closed())

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:  # closed
                return
            # in a thread: a stranger may say nothing
            threading.Thread(target=self._admit, args=(Wire(connected),), daemon=True).start()

    def _admit(self, wire: Wire) -> None:
        try:
            wire.admit(self.key, ADMIT_S)
            wire.keep_alive()
        except (EOFError, OSError):  # a stranger; ranks that miss are named
            wire.close()
        else:
            self._open[wire] = None

    def _run(self) -> None:
        while not self._closed:
            try:
                ready = wait(list(self._open), 0.1)
            except ValueError:  # another thread has just closed a wire
                for wire in [wire for wire in list(self._open) if wire.fileno() < 0]:
                    self._open.pop(wire, None)
                continue
            for wire in ready:
                assert isinstance(wire, Wire)
                self._read(wire)
            verdict = self._verdict(time.monotonic())
            if verdict is not None:
                self._tell(verdict)
                return

    def _tell(self, message: Message) -> None:
        # rank 0 last: it ends this process
        ordered = sorted(self._open.items(), key=lambda item: -item[1].rank if item[1] else -1)
        for wire, _ in ordered:
            try:
                wire.send(packed(message))
            except OSError:  # that rank has ended
                self._open.pop(wire, None)
                wire.close()

    def _read(self, wire: Wire) -> None:
        try:
            message = unpacked(wire.receive()[0])
        except (EOFError, OSError):
            who = self._open.pop(wire, None)
            wire.close()
            if who is not None and who.rank not in self._left | set(self._failed):
                self._fail(who, Failed(_DIED))
            return
        try:
            who = self._open[wire]
        except KeyError:  # `close` has just closed it
            return
        if who is None:
            assert isinstance(message, Member)
            self._open[wire] = self._came[message.rank] = message
        elif isinstance(message, Stop):
            self._tell(message)
        elif isinstance(message, Left):
            self._left.add(who.rank)
        elif isinstance(message, Failed):
            self._fail(who, message)
        elif isinstance(message, Working):
            self._working[who.rank] = message
            if who.rank == self.me.rank:  # the others must know it when this process is gone
                self._tell(message)
        elif isinstance(message, Stuck):
            self._stuck[who.rank] = message
            if self._asked_s is None:
                self._asked_s = time.monotonic()
                self._tell(Report())

    def _fail(self, who: Member, failed: Failed) -> None:
        self._failed.setdefault(who.rank, failed)
        self._first_s = self._first_s or time.monotonic()

    def _verdict(self, now_s: float) -> Verdict | None:
        if self._first_s is not None and now_s > self._first_s + SETTLE_S:
            return self._of_failures()
        present = set(self._came) - self._left
        if self._asked_s is not None and (
            present <= set(self._stuck) or now_s > self._asked_s + ANSWER_S
        ):
            return self._of_hanging(present)
        missing = sorted(set(range(self.me.world_size)) - set(self._came))
        if missing and now_s > self._deadline_s:
            return self._of_missing(missing)
        return None

    def _of_failures(self) -> Verdict:
        """The first failure that no other explains."""
        rank, failed = min(self._failed.items(), key=lambda item: item[1].echo)
        name, last = self._came[rank].name, self._last(rank)
        there = {who.rank for who in self._open.values() if who is not None}
        return Verdict(
            text=(
                f"{name} {failed.text}{last}"
                if failed.text is _DIED
                else f"{name}: {failed.text}{'' if ' tasks ' in failed.text else last}"
            ),
            speaker=min(there, default=0),
            code=failed.code,
        )

    def _of_hanging(self, present: set[int]) -> Verdict:
        """The ranks that do not answer; else those with the least progress, outside of collectives.

        All others wait for them.
        """
        silent = tuple(self._came[rank] for rank in sorted(present - set(self._stuck)))
        waited_s = max(stuck.silent_s for stuck in self._stuck.values())
        if silent:
            lines = [
                f"{who.name} does not answer: it is stopped or stuck{self._last(who.rank)}"
                for who in silent
            ]
        else:
            least = min(self._stuck[rank].marks for rank in present)
            behind = [rank for rank in sorted(present) if self._stuck[rank].marks == least]
            guilty = [rank for rank in behind if not self._stuck[rank].waits] or behind
            lines = [
                f"{self._came[rank].name} hangs in {self._stuck[rank].where}{self._last(rank)}"
                for rank in guilty
            ]
        return Verdict(
            text="\n".join(lines) + _no_progress(waited_s),
            speaker=min(self._stuck),
            silent=silent,
        )

    def _last(self, rank: int) -> str:
        return self._working[rank].words if rank in self._working else ""

    def _of_missing(self, missing: list[int]) -> Verdict:
        came = ", ".join(f"{rank} on {self._came[rank].host}" for rank in sorted(self._came))
        return Verdict(
            f"expected {self.me.world_size} ranks within {self.wait_s:g} s, but"
            f" {', '.join(map(str, missing))} did not come (here: {came}): start every node with"
            f" the same MASTER_ADDR={os.environ.get('MASTER_ADDR')} and"
            f" MASTER_PORT={os.environ.get('MASTER_PORT')}"
        )


def _no_progress(silent_s: float) -> str:
    return (
        f"\n(no progress for {silent_s:.0f} s; the stacks of all ranks are in stack_rank*.txt in"
        " the run folder; if your steps need longer, set hang_s)"
    )


_DIED = (
    "ended without a message: it was killed (by the system when memory runs out, or by hand), or"
    " its machine was lost"
)
