"""vLLM's engine in a subprocess on the trainer's device.

The trainer's process does not import vLLM, and the engine does not see the trainer's process group.
They talk through a socket in a folder of this user, in messages of JSON (`vllm_messages.py`).
Weights are sent through a folder, in shared memory if the machine has enough of it.
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
from pathlib import Path
from typing import Any

import torch

from g2rpo.launch import marks
from g2rpo.rollout.vllm_messages import generate_message, read_answer
from g2rpo.rollout.vllm_process import EngineProcess, engine_environment
from g2rpo.rollout.vllm_requests import Answer, Request
from g2rpo.rollout.vllm_retry import TICK_S, EngineLost
from g2rpo.wire import Wire

MODULE = "g2rpo.rollout.vllm_worker"


class SubprocessEngine:
    """The methods of `Host`, for an engine in a subprocess.

    Args:
        address: Path of the engine's socket; trainer processes with the same path share the engine.
        device: Device of this trainer process.
        num_devices: Number of devices of the engine: those of as many neighboring trainer
            processes.
        options: Arguments of vLLM's `LLM`.
        log_file: File for the engine's output.
        start_s: Maximum seconds until the engine is ready.
        timeout_s: Maximum seconds without a message from a busy engine.
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
            # Otherwise all engines bind themselves to the same cores.
            self.environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
            self.environment["OMP_NUM_THREADS"] = os.environ.get(
                "OMP_NUM_THREADS", str(torch.get_num_threads())
            )
        self.process = EngineProcess(log_file=log_file, start_s=start_s)
        self._wire: Wire | None = None
        self.max_model_len = self.pid = 0

    def start(self, folder: Path, adapter: Path | None = None) -> bool:
        """Start the engine with the checkpoint and the adapter in these folders, and return True.

        Return False if another process that shares the engine has started it already.
        """
        with _file_lock(self.address + ".lock"):
            if self._connected():
                return False
            Path(self.address).unlink(missing_ok=True)
            settings = json.dumps(
                {
                    "folder": str(folder),
                    "on_gpu": self.on_gpu,
                    "options": self.options,
                    "adapter": None if adapter is None else str(adapter),
                }
            )
            self.process.launch(
                [sys.executable, "-m", MODULE, self.address, settings],
                self.environment,
                self._connected,
                "engine",
            )
            return True

    def connect(self) -> None:
        """Connect to an engine that another process started."""
        deadline = time.monotonic() + self.start_s
        while not self._connected():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"rollout.start_s: no engine answered at {self.address} within"
                    f" {self.start_s:g} s; see the engine_rank*.log files in rollout.log_dir"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End the engine, if this process started it."""
        self._disconnect()
        self.process.stop()

    def generate(
        self,
        requests: Sequence[Request],
        fields: Sequence[Mapping[str, Any]],
        answers: dict[int, Answer],
    ) -> None:
        """Store the answer to each request in `answers` by the request's index, as they arrive.

        Requests that have an answer already are not sent.

        Raises:
            EngineLost: The engine died or timed out.
            RuntimeError: The engine refused a request.
        """
        asked = [
            (place, request, own)
            for place, (request, own) in enumerate(zip(requests, fields, strict=True))
            if place not in answers
        ]
        self._send(*generate_message(asked))
        for _ in asked:
            place, answer = read_answer(self._reply())
            answers[place] = answer

    def reload(self, folder: str) -> None:
        """Load weights from a checkpoint folder."""
        self._call("reload", folder=folder)

    def load_adapter(self, folder: str) -> None:
        """Replace the adapter by the one in a folder."""
        self._call("load_adapter", folder=folder)

    def forget(self) -> None:
        """Clear every cache that was computed with older weights."""
        self._call("forget")

    def sleep(self, level: int) -> None:
        """Free GPU memory; see `vllm_sleep`."""
        self._call("sleep", level=level)

    def wake_up(self, tags: list[str]) -> None:
        """Allocate the memory of these tags again (`weights`, `kv_cache`)."""
        self._call("wake_up", tags=tags)

    def _call(self, method: str, **given: Any) -> None:
        self._send({"method": method, "given": given})
        self._reply()

    def _send(self, message: Any, buffers: Sequence[bytes] = ()) -> None:
        try:
            if self._wire is None:
                raise ConnectionError("the engine is not running")
            self._wire.send(message, buffers)
        except OSError as error:
            self._disconnect()
            if not self._connected():
                self._lost(error)
            self._wire.send(message, buffers)  # another process has restarted the shared engine

    def _reply(self) -> Any:
        """Return the engine's next message."""
        assert self._wire is not None
        try:
            deadline_s = time.monotonic() + self.timeout_s
            while not self._wire.poll(min(TICK_S, self.timeout_s)):
                marks.drop_if_asked()
                if time.monotonic() < deadline_s:
                    continue
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(f"no message within rollout.timeout_s={self.timeout_s:g} s")
            kind, value = self._wire.receive()[0]
        except (EOFError, OSError) as error:
            self._lost(error)
        if kind == "failed":
            # Answers to the same call may still arrive; a new connection will not see them.
            self._disconnect()
            raise RuntimeError(f"the engine failed ({self.process.log_file}): {value}")
        return value

    def _lost(self, error: Exception) -> Any:
        self._disconnect()
        code = None if self.process.process is None else self.process.process.poll()
        ended = "" if code is None else f", exit code {code}"
        raise EngineLost(
            f"the engine was lost ({type(error).__name__}: {error}{ended}; {self.process.log_file})"
        ) from error

    def _connected(self) -> bool:
        if self._wire is None:
            try:
                self._wire = Wire.connect(self.address)
                hello, _ = self._wire.receive()
                self.max_model_len, self.pid = hello["max_model_len"], hello["pid"]
            except (OSError, EOFError):
                self._disconnect()
        return self._wire is not None

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None


def visible_devices(device: torch.device, count: int) -> list[str]:
    """Return the GPUs of a group of neighboring trainer processes, as CUDA_VISIBLE_DEVICES names
    them.

    Args:
        device: Device of one process of the group.
        count: Number of processes, and GPUs, in the group.

    Raises:
        ValueError: This process does not see all of these GPUs.
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
    """Return a new path for a socket; it is short because the system limits it to about 100
    characters.
    """
    folder = Path(tempfile.mkdtemp(prefix="g2rpo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(folder / "engine")


@contextmanager
def _file_lock(path: str) -> Iterator[None]:
    """Let one process at a time into the block."""
    with Path(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
