"""A vLLM server as a child of the trainer: started, watched, started again."""

import atexit
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from g2rpo.rollout.serve import WITH_PARENT
from g2rpo.rollout.vllm_client import VLLMClient

log = logging.getLogger("g2rpo")
MODULE = "g2rpo.rollout.serve"
CPU_OPTIONS = ("--enforce-eager", "--kv-cache-memory-bytes", str(2**28), "--block-size", "32")


class ServerProcess:
    """One server on this machine, on a free port.

    Args:
        log_file: Where its output goes; a start that fails shows the end of it.
        options: Of vLLM's server, besides model and port.
        start_s: Seconds until it must be up.
    """

    def __init__(self, *, log_file: Path, options: Sequence[str], start_s: float) -> None:
        self.log_file = log_file
        self.options = tuple(options)
        self.start_s = start_s
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, folder: Path) -> None:
        """Serves the checkpoint in `folder` and waits until it is up; what is left of an earlier process is ended first.

        Raises:
            RuntimeError: with the end of its log, when it is not up in time.
        """
        self.stop()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", MODULE, str(folder), "--host", "127.0.0.1", "--port", str(self.port), WITH_PARENT, *self.options]
        environment = {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"} | os.environ
        with self.log_file.open("ab") as output:
            # a session of its own, so that its workers can be ended with it
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)  # noqa: S603
        client = VLLMClient(url=self.url, timeout_s=5)
        deadline = time.monotonic() + self.start_s
        while not client.is_well():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = self.log_file.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"rollout: the vLLM server was not up within {self.start_s:g} s ({self.log_file}):\n{tail}")
            time.sleep(0.5)
        log.info("vLLM serves %s at %s", folder, self.url)

    def stop(self) -> None:
        """Ends the server and its workers, if they run."""
        if self.process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(10)
            except ProcessLookupError:
                break  # the whole group is gone
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()
        self.process = None
