"""A job in a process of its own: the script again, with the frozen configuration in place of
choices and overrides.

Nothing of the sweep is on the command line, so whoever runs the line again (Lightning does, for
further ranks) runs this job and not the sweep.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    """What is needed to start a job anywhere: plain data, so that it can be sent to another
    machine.

    Args:
        script: `train.py`, with its whole path.
        folder: Of the job, with its whole path.
        cwd: Where relative paths of the configuration start.
        group: Name of the sweep, under which W&B gathers its runs.
        extra: Variables of the environment, on top of those that are there.
    """

    script: str
    folder: str
    cwd: str
    group: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """The command line. A job that was killed goes on from its last checkpoint."""
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
        """`given` without what would make the job a rank of another run; SLURM's tasks stay where
        there are several.
        """
        dropped = set(RANK_VARIABLES) | (
            set(TASK_VARIABLES) if given.get("SLURM_NTASKS", "1") == "1" else set()
        )
        kept = {name: value for name, value in given.items() if name not in dropped}
        return {"WANDB_RUN_GROUP": self.group} | kept | dict(self.extra)


def quoted(text: str) -> str:
    """A value as Hydra reads it back, whatever it holds.

    >>> quoted("outputs/advantage=grpo,seed=0")
    "'outputs/advantage=grpo,seed=0'"
    """
    return "'" + text.replace("'", "\\'") + "'"


class Running:
    """Jobs that run at this moment, so that they can be ended together with the sweep."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, task: Task) -> int:
        """Runs a job to its end and returns its exit code; a negative one is the signal that killed
        it.
        """
        folder = Path(task.folder)
        (folder / "error.txt").unlink(missing_ok=True)  # of an earlier try
        started_s = time.time()
        with (folder / CONSOLE).open("ab") as console:
            with self._lock:
                if self.stopped:
                    return -15
                process = subprocess.Popen(  # noqa: S603
                    task.command(),
                    cwd=task.cwd,
                    env=task.environment(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                )
                self._processes.add(process)
            try:
                code = _watched(process, folder, started_s)
            finally:
                with self._lock:
                    self._processes.discard(process)
        write_mark(folder, process.pid, started_s, code)
        return code

    def stop(self) -> None:
        """Ends every job, and lets no further one begin."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                process.terminate()


def _watched(process: subprocess.Popen[bytes], folder: Path, started_s: float) -> int:
    """Waits, with a sign of life from time to time."""
    while True:
        write_mark(folder, process.pid, started_s)
        try:
            return process.wait(timeout=BEAT_S)
        except subprocess.TimeoutExpired:
            continue


def run_task(task: Task) -> int:
    """A job on another machine. Of several SLURM tasks, each is a rank of it and the first alone
    leaves a mark.
    """
    if int(os.environ.get("SLURM_PROCID", "0")) == 0:
        return Running().run(task)
    with (Path(task.folder) / f"console_{os.environ['SLURM_PROCID']}.log").open("ab") as console:
        return subprocess.call(  # noqa: S603
            task.command(),
            cwd=task.cwd,
            env=task.environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
