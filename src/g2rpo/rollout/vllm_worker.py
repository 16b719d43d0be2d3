"""The subprocess that runs an engine; `vllm_subprocess.py` starts it.

    python -m g2rpo.rollout.vllm_worker ADDRESS SETTINGS

One or several trainer processes call the methods of `Host` through a socket. The process ends with
the one that started it.
"""

import json
import os
import signal
import socket
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import Any

from g2rpo.rollout.serve import end_with_parent
from g2rpo.rollout.vllm_host import Host
from g2rpo.rollout.vllm_messages import METHODS, answer_message, read_requests
from g2rpo.wire import Wire, private_listener

Call = tuple[Wire, dict[str, Any], list[bytes]]


class CallLoop:
    """Serves the calls of trainer processes; prompts of all of them are batched together.

    Args:
        host: The engine.
        calls: Queue of calls: connection of the caller, message and buffers (`vllm_messages.py`).
    """

    def __init__(self, host: Any, calls: "SimpleQueue[Call]") -> None:
        self.host = host
        self.calls = calls
        self.running: dict[str, tuple[Wire, int]] = {}
        """Caller of each running request, and the request's index in the caller's list."""

    def serve(self) -> None:
        """Serve until the process is ended or the engine fails while it generates."""
        while True:
            while not self.running or not self.calls.empty():
                self.take(*self.calls.get())
            for name, answer in self.host.step():
                client, place = self.running.pop(name)
                _send(client, "answer", answer_message(place, answer))

    def take(self, client: Wire, message: dict[str, Any], buffers: list[bytes]) -> None:
        """Execute one call: queue its prompts, or run another method at once."""
        try:
            method = message["method"]
            if method == "generate":
                for place, request, fields in read_requests(message, buffers):
                    self.running[self.host.add(request, fields)] = (client, place)
            elif method in METHODS:
                getattr(self.host, method)(**message["given"])
                _send(client, "done", None)
            else:
                raise ValueError(f"expected generate or one of {METHODS}, got {method!r}")
        except Exception as error:  # noqa: BLE001  every kind is raised again in the trainer
            traceback.print_exc()
            _send(client, "failed", f"{type(error).__name__}: {error}")


def _send(client: Wire, kind: str, value: Any) -> None:
    """Send a message to a trainer process; if that has ended, the run is about to end too."""
    try:
        client.send([kind, value])
    except OSError:
        print(f"cannot send {kind!r}: the trainer process has ended", file=sys.stderr)  # noqa: T201


def _listen(listener: socket.socket, max_model_len: int, calls: "SimpleQueue[Call]") -> None:
    def read(client: Wire) -> None:
        try:
            client.send({"max_model_len": max_model_len, "pid": os.getpid()})
            while True:
                calls.put((client, *client.receive()))
        except (EOFError, OSError):
            return

    while True:
        client = Wire(listener.accept()[0])
        threading.Thread(target=read, args=(client,), daemon=True).start()


def main(address: str, settings: str) -> None:
    """Build the engine and serve calls at the socket `address`; `settings` are JSON for `Host`."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    # An orderly exit ends vLLM's workers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host = Host(**json.loads(settings))
    calls: SimpleQueue[Call] = SimpleQueue()
    listener = private_listener(address)
    threading.Thread(
        target=_listen, args=(listener, host.max_model_len, calls), daemon=True
    ).start()
    CallLoop(host, calls).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
