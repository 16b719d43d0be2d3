"""vLLM's engine in a child process on the trainer's device: its own memory of what is running, its
own death.

Nothing of vLLM is in the trainer's process, and nothing of the trainer's process group in the
engine's. Weights go over through a folder that is in memory where the machine has one there.
"""

import atexit
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import torch

from g2rpo.rollout.vllm_process import EngineProcess, engine_environment
from g2rpo.rollout.vllm_requests import Answer, Request
from g2rpo.rollout.vllm_retry import EngineLost

MODULE = "g2rpo.rollout.vllm_worker"


class EngineBeside:
    """What `Host` is, from another process.

    Args:
        address: Of its socket: trainer processes that name the same one share the engine.
        device: Of this trainer process.
        num_devices: That the engine takes: those of as many neighboring trainer processes.
        options: Of vLLM's `LLM`.
        log_file: Where its output goes.
        start_s: Seconds until it must be up.
        timeout_s: Without a word from an engine that is at work.
    """

    def __init__(
        self,
        *,
        address: str,
        device: torch.device,
        num_devices: int,
        options: Mapping[str, Any],
        log_file: Path,
        start_s: float,
        timeout_s: float,
    ) -> None:
        self.address, self.start_s, self.timeout_s = address, start_s, timeout_s
        self.on_gpu = device.type == "cuda"
        self.options = dict(options)
        self.environment = engine_environment()
        if self.on_gpu:
            self.environment["CUDA_VISIBLE_DEVICES"] = ",".join(
                visible_devices(device, num_devices)
            )
        else:
            self.environment["VLLM_CPU_OMP_THREADS_BIND"] = (
                "nobind"  # engines would bind themselves to the same cores
            )
            self.environment["OMP_NUM_THREADS"] = os.environ.get(
                "OMP_NUM_THREADS", str(torch.get_num_threads())
            )
        self.process = EngineProcess(log_file=log_file, start_s=start_s)
        self._line: Connection | None = None
        self.room = self.pid = 0

    def start(self, folder: Path) -> bool:
        """Starts it on the checkpoint in `folder`. False where another process that shares it was
        faster: then that one's is taken.
        """
        with _alone(self.address + ".lock"):
            if self._connected():
                return False
            Path(self.address).unlink(missing_ok=True)
            settings = json.dumps(
                {"folder": str(folder), "on_gpu": self.on_gpu, "options": self.options}
            )
            self.process.launch(
                [sys.executable, "-m", MODULE, self.address, settings],
                self.environment,
                self._connected,
                "engine",
            )
            return True

    def connect(self) -> None:
        """Reaches an engine that another process started."""
        deadline = time.monotonic() + self.start_s
        while not self._connected():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"rollout: no engine answered at {self.address} within {self.start_s:g} s"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it, if this process started it."""
        self._hang_up()
        self.process.stop()

    def generate(
        self,
        requests: Sequence[Request],
        fields: Sequence[Mapping[str, Any]],
        answers: dict[int, Answer],
    ) -> None:
        """Writes answers down as they come, by the places of their requests, those that are there
        already left alone.

        Raises:
            EngineLost: when the engine dies or falls silent.
            RuntimeError: when it refuses a request.
        """
        asked = [
            (place, request, own)
            for place, (request, own) in enumerate(zip(requests, fields, strict=True))
            if place not in answers
        ]
        self._send("generate", requests=asked)
        for _ in asked:
            place, answer = self._reply()
            answers[place] = answer

    def reload(self, folder: str) -> None:
        """Weights from a checkpoint folder."""
        self._call("reload", folder=folder)

    def forget(self) -> None:
        """Whatever was computed with older weights."""
        self._call("forget")

    def sleep(self, level: int) -> None:
        """Lets go of memory."""
        self._call("sleep", level=level)

    def wake_up(self, tags: list[str]) -> None:
        """Takes it back."""
        self._call("wake_up", tags=tags)

    def _call(self, method: str, **given: Any) -> None:
        self._send(method, **given)
        self._reply()

    def _send(self, method: str, **given: Any) -> None:
        try:
            if self._line is None:
                raise ConnectionError("the engine is not running")
            self._line.send((method, given))
        except OSError as error:
            self._hang_up()
            if not self._connected():
                self._lost(error)
            self._line.send((method, given))  # a process that shares it has started it again

    def _reply(self) -> Any:
        """The next word of the engine."""
        assert self._line is not None
        try:
            if not self._line.poll(self.timeout_s):
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(f"no word within {self.timeout_s:g} s")
            kind, value = self._line.recv()
        except (EOFError, OSError) as error:
            self._lost(error)
        if kind == "failed":
            # other answers may be under way, to a question that is not asked any more
            self._hang_up()
            raise RuntimeError(f"the engine failed ({self.process.log_file}): {value}")
        return value

    def _lost(self, error: Exception) -> Any:
        self._hang_up()
        code = None if self.process.process is None else self.process.process.poll()
        ended = "" if code is None else f", exit code {code}"
        raise EngineLost(
            f"the engine was lost ({type(error).__name__}: {error}{ended}; {self.process.log_file})"
        ) from error

    def _connected(self) -> bool:
        if self._line is None:
            try:
                self._line = Client(self.address, family="AF_UNIX")
                self.room, self.pid = self._line.recv()
            except (OSError, EOFError):
                self._hang_up()
        return self._line is not None

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


def visible_devices(device: torch.device, count: int) -> list[str]:
    """Names of the GPUs of a group of `count` neighboring trainer processes, of which one has
    `device`, as CUDA_VISIBLE_DEVICES has them.

    Raises:
        ValueError: when this process does not see all of them.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (
        named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
    )
    first = (device.index or 0) // count * count
    if first + count > len(names):
        raise ValueError(
            f"rollout.tensor_parallel_size: expected {count} GPUs that every trainer process of a"
            f" group sees, got {len(names)}; let each process see all GPUs of its machine, or"
            " lower it"
        )
    return names[first : first + count]


def new_address() -> str:
    """A socket that nobody else has; short, because a socket's path may have 100 characters."""
    folder = Path(tempfile.mkdtemp(prefix="g2rpo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(folder / "engine")


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Of several processes, one at a time."""
    with Path(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
