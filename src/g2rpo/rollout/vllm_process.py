"""Engine processes that the trainer starts, watches and ends.

`ServerProcess` is a server for `rollout=vllm_server`; `vllm_subprocess.py` uses `EngineProcess` for
an engine on the trainer's GPU.
"""

import atexit
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from g2rpo.rollout.serve import KEY, MODULE, WITH_PARENT
from g2rpo.rollout.vllm_client import VLLMClient

log = logging.getLogger("g2rpo")
CPU_OPTIONS = ("--enforce-eager", "--kv-cache-memory-bytes", str(2**28), "--block-size", "32")
LAUNCHER = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""Environment variables of distributed training, which an engine must not inherit."""


def engine_environment() -> dict[str, str]:
    """Return the trainer's environment without the variables of its process group."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHER and not name.startswith("TORCHELASTIC_")
    }
    # On a CPU vLLM would otherwise compile helpers of its sampler, even with enforce_eager.
    on_cpu = {} if torch.cuda.is_available() else {"TORCHDYNAMO_DISABLE": "1"}
    return {"OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"} | on_cpu | inherited


class EngineProcess:
    """A subprocess that ends with the trainer.

    Args:
        log_file: File for its output; the error of a failed start shows the end of it.
        start_s: Maximum seconds until it is ready.
    """

    def __init__(self, *, log_file: Path, start_s: float) -> None:
        self.log_file = log_file
        self.start_s = start_s
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        is_up: Callable[[], bool],
        name: str,
    ) -> None:
        """Run `command` and wait until it is ready; an earlier process is ended first.

        Args:
            command: Program and arguments.
            environment: All environment variables of the process.
            is_up: Returns whether the process is ready.
            name: Name of the process in error messages.

        Raises:
            RuntimeError: The process is not ready in time; the message holds the end of its log.
        """
        self.stop()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            # In a session of its own its workers can be ended together with it.
            self.process = subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + self.start_s
        while not is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = self.log_file.read_text(errors="replace")[-2000:]
                raise RuntimeError(
                    f"rollout: the vLLM {name} was not up within {self.start_s:g} s"
                    f" ({self.log_file}):\n{tail}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End the process and its workers, if they run.

        They get 10 seconds to release shared memory, which would otherwise outlive them.
        """
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                self.process.poll()
                os.killpg(self.process.pid, 0)
                time.sleep(0.05)
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # every process of the group has ended
        self.process.wait()
        self.process = None


class ServerProcess(EngineProcess):
    """A server on a free port of this machine.

    Args:
        log_file: File for its output.
        options: Command-line options of vLLM's server besides model and port.
        start_s: Maximum seconds until it is ready.
    """

    def __init__(self, *, log_file: Path, options: Sequence[str], start_s: float) -> None:
        super().__init__(log_file=log_file, start_s=start_s)
        self.options = tuple(options)
        self.key = secrets.token_urlsafe(32)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, folder: Path) -> None:
        """Serve the checkpoint in `folder` and wait until the server is ready."""
        command = [
            sys.executable,
            "-m",
            MODULE,
            str(folder),
            "--port",
            str(self.port),
            WITH_PARENT,
            *self.options,
        ]
        client = VLLMClient(url=self.url, timeout_s=5, key=self.key)
        environment = engine_environment() | {KEY: self.key}
        self.launch(command, environment, client.is_healthy, "server")
        log.info("vLLM serves %s at %s", folder, self.url)


def server_options(
    *, dtype: str, on_gpu: bool, lora_rank: int | None, family: Mapping[str, Any]
) -> list[str]:
    """Return the command-line options of a server for a policy.

    Args:
        dtype: Dtype of its weights, such as `bfloat16`.
        on_gpu: Whether the server runs on a GPU.
        lora_rank: Maximum rank of adapters; None for a server without adapters.
        family: Options of vLLM's `LLM` that the family of the policy needs.
    """
    return [
        "--dtype",
        dtype,
        *(() if on_gpu else CPU_OPTIONS),
        *lora_options(lora_rank),
        *command_line(family),
    ]


def command_line(options: Mapping[str, Any]) -> list[str]:
    """Return arguments of vLLM's `LLM` as options of its server.

    >>> command_line({"mm_processor_kwargs": {"use_fast": False}})
    ['--mm-processor-kwargs', '{"use_fast": false}']
    """
    return [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", json.dumps(value))
    ]


def lora_options(rank: int | None) -> tuple[str, ...]:
    """Return the options of a server for adapters of at most this rank; None if it needs none."""
    return () if rank is None else ("--enable-lora", "--max-lora-rank", str(rank))
