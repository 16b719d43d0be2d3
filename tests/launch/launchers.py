"""Starts a command under each launcher: Lightning, torchrun on one and two nodes, and srun.

There is no SLURM here, so srun is played by processes with its environment variables.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "G2RPO_TEST_RUN"
"""Environment variable by which a run's processes are found, whoever their parent is."""
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit codes and output of the processes that the test started."""

    codes: list[int]
    text: str
    seconds: float
    left: list[str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lightning(script: Sequence[str]) -> list[tuple[list[str], dict[str, str]]]:
    return [([sys.executable, *script], {})]


def torchrun(script: Sequence[str], *, size: int = 2) -> list[tuple[list[str], dict[str, str]]]:
    words = [str(BIN / "torchrun"), "--standalone", f"--nproc-per-node={size}", *script]
    return [(words, {})]


def torchrun_nodes(
    script: Sequence[str], *, size: int = 1
) -> list[tuple[list[str], dict[str, str]]]:
    """Two nodes on this machine, each with `size` ranks."""
    port = free_port()
    return [
        (
            [
                str(BIN / "torchrun"),
                "--nnodes=2",
                f"--node-rank={node}",
                f"--nproc-per-node={size}",
                "--master-addr=127.0.0.1",
                f"--master-port={port}",
                *script,
            ],
            {},
        )
        for node in range(2)
    ]


def srun(
    script: Sequence[str], *, size: int = 2, nodes: int = 1
) -> list[tuple[list[str], dict[str, str]]]:
    port = free_port()
    return [
        ([sys.executable, *script], slurm(rank, size, nodes) | {"MASTER_PORT": str(port)})
        for rank in range(size)
    ]


def slurm(rank: int, size: int, nodes: int) -> dict[str, str]:
    """The variables that srun sets for a task."""
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "g2rpo",
        "SLURM_NTASKS": str(size),
        "SLURM_NTASKS_PER_NODE": str(size // nodes),
        "SLURM_NNODES": str(nodes),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank % (size // nodes)),
        "SLURM_NODEID": str(rank // (size // nodes)),
        "SLURM_NODELIST": "127.0.0.1",
        "MASTER_ADDR": "127.0.0.1",
    }


def started(
    commands: Sequence[tuple[Sequence[str], Mapping[str, str]]],
    cwd: Path,
    more: Mapping[str, str] | None = None,
) -> list[subprocess.Popen[str]]:
    env = os.environ | {MARK: str(cwd), "OMP_NUM_THREADS": "1"} | dict(more or {})
    processes = []
    for place, (words, own) in enumerate(commands):
        with (cwd / f"console{place}.txt").open("w") as console:
            processes.append(
                subprocess.Popen(
                    list(words),
                    cwd=cwd,
                    env=env | dict(own),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
    return processes


def ended(processes: Sequence[subprocess.Popen[str]], cwd: Path, limit_s: float = 120.0) -> Ended:
    """Wait for the processes; what runs longer is killed and has the code -9."""
    begun_s = time.monotonic()
    for process in processes:
        try:
            process.wait(max(0.1, begun_s + limit_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    seconds = time.monotonic() - begun_s
    text = "".join(
        (cwd / f"console{place}.txt").read_text(errors="replace") for place in range(len(processes))
    )
    return Ended([process.returncode for process in processes], text, seconds, orphans(cwd))


def orphans(cwd: Path, patience_s: float = 15.0) -> list[str]:
    """Return the command lines of processes of a run that do not end in time; kill them."""
    deadline_s = time.monotonic() + patience_s
    while (found := _of_run(cwd)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return list(found.values())


def _of_run(cwd: Path) -> dict[int, str]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={cwd}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and int(folder.name) != os.getpid():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found
