"""A worker process that judges completions: the trainer's side and the worker's side.

Down one connection go chunks of completions, and up comes a mark when a chunk is done. All messages
are JSON (`g2rpo/wire.py`), so a worker whose plug-in has gone wild cannot run code in the trainer.
Only the reward itself, an object of the user's class, is pickled: the trainer sends it once, before
the first chunk. The verdicts have a connection of their own, one message for each completion as
soon as it is judged, or for each group that is judged together: the trainer need not wake up for
every one, and when a worker hangs or dies, what it has judged is still in there, and the first
completion without a verdict is the one it was working on.
"""

import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from g2rpo.prompt import Failed
from g2rpo.reward.workers.outcome import Outcome, outcomes_of
from g2rpo.reward.workers.plain import prompt_of
from g2rpo.wire import Wire

START_S = 120.0
"""Time limit in seconds for a new process to build its reward. Imports may read hundreds of
megabytes from a slow disk.
"""
MESSAGE_BYTES = 2**24
"""Largest message of a worker, in bytes."""
Chunk = list[tuple[list[int], list[str], dict[str, Any]]]
"""Rows and completions that one call judges, and their prompt as plain values."""


class Worker:
    """One worker process and the rows it has not answered yet. `pickled` is the reward."""

    def __init__(self, pickled: bytes, timeout_s: float, memory_gib: float | None = None) -> None:
        (own, chunks), (answers, verdicts) = socket.socketpair(), socket.socketpair()
        self.pipe, self.verdicts = Wire(own), Wire(answers)
        # Not by multiprocessing: a fork would copy the threads and locks of torch, and a spawn
        # would run the user's script a second time.
        # In a process group of its own, so that Ctrl-C in a terminal reaches the trainer alone.
        self.process = subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                "-m",
                "g2rpo.reward.workers.worker",
                *(str(end.fileno()) for end in (chunks, verdicts)),
                str(os.getpid()),
                str(resource.RLIM_INFINITY if memory_gib is None else int(memory_gib * 2**30)),
            ],
            pass_fds=(chunks.fileno(), verdicts.fileno()),
            stdin=subprocess.DEVNULL,
            process_group=0,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        chunks.close()
        verdicts.close()
        self.timeout_s = timeout_s
        self.started, self.idle = False, False
        self.rows: deque[list[int]] = deque()
        self.deadline = time.monotonic() + START_S
        with suppress(OSError):  # it has died, and `received` will say so
            self.pipe.send({"timeout_s": timeout_s}, [pickled])

    def send(self, chunk: Chunk) -> None:
        """Send completions to be judged, and start their time limit."""
        self.idle = False
        self.rows.extend(rows for rows, _, _ in chunk)
        self._start_clock()
        prompts = {id(prompt): prompt for _, _, prompt in chunk}  # each is sent once
        places = {own: place for place, own in enumerate(prompts)}
        work = [(rows, completions, places[id(prompt)]) for rows, completions, prompt in chunk]
        with suppress(OSError):  # it has died, and `received` will say so
            self.pipe.send({"prompts": list(prompts.values()), "work": work})

    def received(self) -> tuple[list[tuple[int, Outcome]], bool]:
        """Return the outcomes since the last call, and whether the process is alive.

        Raises:
            RuntimeError: the reward could not be built there.
        """
        judged: list[tuple[int, Outcome]] = []
        try:
            while self.pipe.poll(0):
                failure, _ = self.pipe.receive(MESSAGE_BYTES)
                if failure is not None:
                    raise RuntimeError(
                        f"reward: a worker process could not build it: {failure}."
                        " reward_workers=inline runs it in the trainer."
                    )
                self.started = self.idle = True
        except (EOFError, OSError, ValueError):
            alive = False
        else:
            alive = True
        try:
            while self.rows and (
                self.idle or self.verdicts.poll(0)
            ):  # the mark comes last: then all verdicts are there
                message, _ = self.verdicts.receive(MESSAGE_BYTES)
                outcomes = _outcomes(message, len(self.rows[0]))
                judged += zip(self.rows.popleft(), outcomes, strict=True)
        except (EOFError, OSError, ValueError):
            alive = False
        if judged:
            self._start_clock()
        return judged, alive

    def _start_clock(self) -> None:
        """Start the time limit of the first open rows."""
        limit_s = self.timeout_s * (len(self.rows[0]) if self.rows else 1)
        self.deadline = time.monotonic() + limit_s

    def end(self, grace_s: float = 0.0) -> int:
        """End the process and those that it has started, and return its exit code.

        It gets `grace_s` seconds to exit by itself.
        """
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        with suppress(ProcessLookupError):  # nothing of its group is left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.pipe.close()
        self.verdicts.close()
        return self.process.wait()


def serve(pipe: Wire, verdicts: Wire) -> None:
    """Build the reward, then judge completions until the connection closes."""
    settings, (pickled,) = pipe.receive()
    try:
        reward = pickle.loads(pickled)  # noqa: S301  from our own parent
        if hasattr(reward, "prepare"):  # a `PreparedReward`; that Protocol would bring torch
            reward.prepare()
    except Exception as error:  # noqa: BLE001  plug-in code; the parent raises it
        pipe.send(f"{type(error).__name__}: {error}")
        return
    while True:
        signal.setitimer(signal.ITIMER_REAL, 0)
        pipe.send(None)
        chunk, _ = pipe.receive()
        prompts = [prompt_of(plain) for plain in chunk["prompts"]]
        for rows, completions, place in chunk["work"]:
            # The trainer ends a slow worker itself. If it was killed, and this one hangs where no
            # thread of Python runs, the alarm does.
            signal.setitimer(signal.ITIMER_REAL, 2 * settings["timeout_s"] * len(rows))
            found = outcomes_of(reward, completions, prompts[place])
            verdicts.send(
                [{"failed": own.reason} if isinstance(own, Failed) else own for own in found]
            )


def _outcomes(message: Any, count: int) -> list[Outcome]:
    """Return the outcomes in a message of a worker. Raises `ValueError` if they are none."""
    if not isinstance(message, list) or len(message) != count:
        raise ValueError(f"expected {count} outcomes, got {message!r}")
    return [_outcome(plain) for plain in message]


def _outcome(plain: Any) -> Outcome:
    if isinstance(plain, dict):
        if isinstance(reason := plain.get("failed"), str):
            return Failed(reason=reason)
        if all(isinstance(value, int | float) for value in plain.values()):
            return {name: float(value) for name, value in plain.items()}
    raise ValueError(f"expected an outcome, got {plain!r}")


def main() -> None:
    """Run a worker.

    Command-line arguments: the file descriptors of both sockets, the trainer's process id, and the
    bytes that may be allocated.
    """
    pipe, verdicts, trainer, memory = map(int, sys.argv[1:])
    # Private writable memory; of address space, CUDA reserves a multiple of what the GPU has.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    threading.Thread(target=_end_with, args=(trainer,), daemon=True).start()
    with suppress(EOFError, OSError):  # the trainer has gone, or wants no more
        serve(*(Wire(socket.socket(fileno=end)) for end in (pipe, verdicts)))


def _end_with(trainer: int) -> None:
    while os.getppid() == trainer:
        time.sleep(0.5)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # what the reward has started ends too


if __name__ == "__main__":
    main()
