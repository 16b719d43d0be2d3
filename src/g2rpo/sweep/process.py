"""Runs one job of a sweep as a child process: the script with the job's frozen configuration.

The command line contains nothing of the sweep. Lightning repeats it to start further ranks, which
therefore run this job and not the sweep.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from g2rpo.sweep.job import BEAT_S, CONSOLE, write_mark

RANK_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
TASK_VARIABLES = (
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_TASKS_PER_NODE",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is needed to start a job: plain data, so that it can be sent to another machine.

    Args:
        script: Absolute path of `train.py`.
        folder: Absolute path of the job's folder.
        cwd: Working directory; relative paths of the configuration start here.
        group: Name of the sweep; W&B groups the runs by it.
        extra: Environment variables to add.
    """

    script: str
    folder: str
    cwd: str
    group: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Return the command line; a job that was killed resumes from its last checkpoint."""
        words = [
            sys.executable,
            self.script,
            "--config-path",
            f"{self.folder}/.hydra",
            "--config-name",
            "config",
            f"hydra.run.dir={quoted(self.folder)}",
            "hydra.output_subdir=null",
        ]
        resumes = (Path(self.folder) / "checkpoints" / "last.ckpt").exists()
        return [*words, f"resume={quoted(self.folder)}"] if resumes else words

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return `given` without variables that would make the job a rank of another run.

        SLURM's task variables are kept if there are several tasks.
        """
        dropped = set(RANK_VARIABLES) | (
            set(TASK_VARIABLES) if given.get("SLURM_NTASKS", "1") == "1" else set()
        )
        kept = {name: value for name, value in given.items() if name not in dropped}
        return {"WANDB_RUN_GROUP": self.group} | kept | dict(self.extra)

    def start(self, console: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the process with its output in `console`."""
        return subprocess.Popen(  # noqa: S603
            self.command(),
            cwd=self.cwd,
            env=self.environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )


def quoted(text: str) -> str:
    """Return a value quoted for Hydra's command line.

    >>> quoted("outputs/advantage=grpo,seed=0")
    "'outputs/advantage=grpo,seed=0'"
    """
    return "'" + text.replace("'", "\\'") + "'"


class Running:
    """The running jobs, so that they can be stopped together with the sweep."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, task: Task) -> int:
        """Run a job and return its exit code; a negative code is the signal that killed it."""
        folder = Path(task.folder)
        (folder / "error.txt").unlink(missing_ok=True)  # from an earlier attempt
        started_s = time.time()
        with (folder / CONSOLE).open("ab") as console:
            with self._lock:
                if self.stopped:
                    return -15
                process = task.start(console)
                self._processes.add(process)
            try:
                code = _watched(process, folder, started_s)
            finally:
                with self._lock:
                    self._processes.discard(process)
        write_mark(folder, process.pid, started_s, code)
        return code

    def stop(self) -> None:
        """Terminate every job and start no further one."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                process.terminate()


def _watched(process: subprocess.Popen[bytes], folder: Path, started_s: float) -> int:
    """Wait for the process, updating its mark every `BEAT_S` seconds."""
    while True:
        write_mark(folder, process.pid, started_s)
        try:
            return process.wait(timeout=BEAT_S)
        except subprocess.TimeoutExpired:
            continue


def run_task(task: Task) -> int:
    """Run a job on another machine. Each of several SLURM tasks is one rank of the job; only the
    first one writes the mark.
    """
    if int(os.environ.get("SLURM_PROCID", "0")) == 0:
        return Running().run(task)
    with (Path(task.folder) / f"console_{os.environ['SLURM_PROCID']}.log").open("ab") as console:
        return task.start(console).wait()
