"""An engine as a child of the trainer: started, watched, ended. A server (`rollout=vllm_server`) or
one that shares the trainer's GPU.
"""

import atexit
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from g2rpo.rollout.serve import WITH_PARENT
from g2rpo.rollout.vllm_client import VLLMClient

log = logging.getLogger("g2rpo")
MODULE = "g2rpo.rollout.serve"
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
"""Variables that tell a process its place among the trainer's, where an engine has none."""


def engine_environment() -> dict[str, str]:
    """The environment of an engine: the trainer's, less what would let it join the trainer's
    processes.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHER and not name.startswith("TORCHELASTIC_")
    }
    on_cpu = (
        {} if torch.cuda.is_available() else {"TORCHDYNAMO_DISABLE": "1"}
    )  # helpers of the sampler, where nothing else is compiled
    return {"OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"} | on_cpu | inherited


class EngineProcess:
    """One child process.

    Args:
        log_file: Where its output goes; a start that fails shows the end of it.
        start_s: Seconds until it must be up.
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
        """Runs `command` and waits until it is up; what is left of an earlier process is ended
        first.

        Raises:
            RuntimeError: with the end of its log, when it is not up in time.
        """
        self.stop()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            # a session of its own, so that its workers can be ended with it
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
        """Ends the process and its workers, if they run. They have time to give shared memory back,
        which outlives them otherwise.
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
            pass  # the whole group is gone
        self.process.wait()
        self.process = None


class ServerProcess(EngineProcess):
    """One server on this machine, on a free port.

    Args:
        log_file: As above.
        options: Of vLLM's server, besides model and port.
        start_s: As above.
    """

    def __init__(self, *, log_file: Path, options: Sequence[str], start_s: float) -> None:
        super().__init__(log_file=log_file, start_s=start_s)
        self.options = tuple(options)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, folder: Path) -> None:
        """Serves the checkpoint in `folder` and waits until it is up."""
        command = [
            sys.executable,
            "-m",
            MODULE,
            str(folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            WITH_PARENT,
            *self.options,
        ]
        client = VLLMClient(url=self.url, timeout_s=5)
        self.launch(command, engine_environment(), client.is_well, "server")
        log.info("vLLM serves %s at %s", folder, self.url)
