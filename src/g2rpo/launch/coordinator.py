"""Rank 0's end of the connections to all ranks: decides which rank failed and tells the others.

A connection closes at the moment its process ends, however it ends. So a killed rank is known at
once, and no busy rank is taken for a dead one.
"""

import os
import secrets
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener, wait
from typing import Any

from g2rpo.launch.member import Member

SETTLE_S = 1.0
"""Seconds to wait for further reports after the first failure: when a rank dies, the others soon
fail in a collective operation, and their reports may come first."""
ANSWER_S = 5.0
"""Seconds in which every rank must say where it is, once one of them hangs."""
REPORT, CLOSED = "report", "closed"


@dataclass(frozen=True)
class Failed:
    """A rank ends with an error.

    Args:
        text: What went wrong.
        echo: Whether another rank probably failed first: the error came from a collective.
        code: Exit code of all ranks.
    """

    text: str
    echo: bool = False
    code: int = 1


@dataclass(frozen=True)
class Stuck:
    """Where a rank is.

    Args:
        marks: Its number of marks of progress.
        where: Function, file and line of its main thread.
        waits: Whether it waits in a collective operation.
        silent_s: Seconds since its last mark.
    """

    marks: int
    where: str
    waits: bool
    silent_s: float


@dataclass(frozen=True)
class Verdict:
    """Why all ranks end.

    Args:
        text: The message for the user.
        speaker: The rank that shows it.
        code: Exit code of all ranks.
        silent: Ranks that do not answer and have to be killed by the others on their machine.
    """

    text: str
    speaker: int = 0
    code: int = 1
    silent: tuple[Member, ...] = ()


class Coordinator:
    """Accepts the connections of all ranks and ends all of them when one fails.

    Args:
        me: Rank 0.
        wait_s: Seconds in which all ranks must connect.
    """

    def __init__(self, me: Member, wait_s: float) -> None:
        self.me, self.wait_s = me, wait_s
        self.key = secrets.token_bytes(16)
        self._listener = Listener(("0.0.0.0", 0), backlog=me.world_size, authkey=self.key)  # noqa: S104  other machines connect
        self.port: int = self._listener.address[1]
        self._deadline_s = time.monotonic() + wait_s
        self._open: dict[Connection, Member | None] = {}
        self._came: dict[int, Member] = {}
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
        self._tell(CLOSED)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except Exception:  # noqa: BLE001, S112  a stranger at the port; ranks that miss are named
                continue
            self._open[connection] = None

    def _run(self) -> None:
        while not self._closed:
            for connection in wait(list(self._open), 0.1):
                assert isinstance(connection, Connection)
                self._read(connection)
            verdict = self._verdict(time.monotonic())
            if verdict is not None:
                self._tell(verdict)
                return

    def _tell(self, message: Any) -> None:
        # rank 0 last: it ends this process
        ordered = sorted(self._open.items(), key=lambda item: -item[1].rank if item[1] else -1)
        for connection, _ in ordered:
            try:
                connection.send(message)
            except OSError:  # that rank has ended
                self._open.pop(connection, None)

    def _read(self, connection: Connection) -> None:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            who = self._open.pop(connection)
            if who is not None and who.rank not in self._left | set(self._failed):
                self._fail(who, Failed(_DIED))
            return
        who = self._open[connection]
        if who is None:
            self._open[connection] = self._came[message.rank] = message
        elif message is None:
            self._left.add(who.rank)
        elif isinstance(message, Failed):
            self._fail(who, message)
        else:
            self._stuck[who.rank] = message
            if self._asked_s is None:
                self._asked_s = time.monotonic()
                self._tell(REPORT)

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
        name = self._came[rank].name
        there = {who.rank for who in self._open.values() if who is not None}
        return Verdict(
            text=f"{name} {failed.text}" if failed.text is _DIED else f"{name}: {failed.text}",
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
            lines = [f"{who.name} does not answer: it is stopped or stuck" for who in silent]
        else:
            least = min(self._stuck[rank].marks for rank in present)
            behind = [rank for rank in sorted(present) if self._stuck[rank].marks == least]
            guilty = [rank for rank in behind if not self._stuck[rank].waits] or behind
            lines = [
                f"{self._came[rank].name} hangs in {self._stuck[rank].where}" for rank in guilty
            ]
        return Verdict(
            text="\n".join(lines) + _no_progress(waited_s),
            speaker=min(self._stuck),
            silent=silent,
        )

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
