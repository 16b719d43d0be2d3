"""The process of an engine that runs beside the trainer: `python -m g2rpo.rollout.vllm_worker
ADDRESS SETTINGS`, see vllm_subprocess.py.

Trainer processes speak to it over a socket, one method of `Host` at a time; several may share it.
It ends with the process that started it.
"""

import json
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection, Listener
from queue import SimpleQueue
from typing import Any

from g2rpo.rollout.serve import end_with_parent
from g2rpo.rollout.vllm_host import Host

Call = tuple[Connection, str, dict[str, Any]]


class Desk:
    """Answers the trainer's processes. Their prompts are completed together, whoever asked first.

    Args:
        host: The engine.
        calls: What is asked, and by whom.
    """

    def __init__(self, host: Any, calls: "SimpleQueue[Call]") -> None:
        self.host = host
        self.calls = calls
        self.open: dict[str, tuple[Connection, int]] = {}
        """Requests under way: who asked, and at which place of its list."""

    def serve(self) -> None:
        """Until the process is ended, or the engine breaks while it writes."""
        while True:
            while not self.open or not self.calls.empty():
                self.take(*self.calls.get())
            for name, answer in self.host.step():
                client, place = self.open.pop(name)
                _tell(client, "answer", (place, answer))

    def take(self, client: Connection, method: str, given: dict[str, Any]) -> None:
        """One call. Prompts are queued; everything else is done at once."""
        try:
            if method == "generate":
                for place, request, fields in given["requests"]:
                    self.open[self.host.add(request, fields)] = (client, place)
            else:
                getattr(self.host, method)(**given)
                _tell(client, "done", None)
        except Exception as error:  # noqa: BLE001  of whatever kind, it is raised in the trainer
            traceback.print_exc()
            _tell(client, "failed", f"{type(error).__name__}: {error}")


def _tell(client: Connection, kind: str, value: Any) -> None:
    """Says it to a trainer process, unless that is gone: then the run is about to end."""
    try:
        client.send((kind, value))
    except OSError:
        print(f"nobody is left to hear {kind!r}", file=sys.stderr)  # noqa: T201  the log of this process


def _listen(listener: Listener, room: int, calls: "SimpleQueue[Call]") -> None:
    def read(client: Connection) -> None:
        try:
            client.send((room, os.getpid()))
            while True:
                calls.put((client, *client.recv()))
        except (EOFError, OSError):
            return

    while True:
        threading.Thread(target=read, args=(listener.accept(),), daemon=True).start()


def main(address: str, settings: str) -> None:
    """Builds the engine, then listens."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(0)
    )  # in an orderly way, which ends vLLM's workers
    host = Host(**json.loads(settings))
    calls: SimpleQueue[Call] = SimpleQueue()
    listener = Listener(address, family="AF_UNIX")
    threading.Thread(target=_listen, args=(listener, host.room, calls), daemon=True).start()
    Desk(host, calls).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
