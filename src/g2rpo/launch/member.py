"""The rank of this process, as its launcher tells it through environment variables."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Member:
    """One process of a run.

    Args:
        rank: 0-based rank among all processes.
        world_size: Number of processes.
        local_rank: 0-based rank among the processes of this machine.
        launcher: `torchrun`, `srun`, `lightning`, or `none` for a single process.
        host: Name of the machine.
        pid: Process id.
        num_nodes: Number of machines of the run; if the launcher does not tell, 2.
        born: Start time of the process in clock ticks since boot; with `pid` it identifies the
            process. 0 if the system does not tell.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    launcher: str = "none"
    host: str = ""
    pid: int = 0
    born: int = 0
    num_nodes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the console output of the run."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """How messages call this process: `rank 3 of 8 on node7`."""
        return f"rank {self.rank} of {self.world_size} on {self.host}"


def member(environment: Mapping[str, str] | None = None) -> Member:
    """Return who this process is.

    Args:
        environment: Environment variables; those of this process if None.
    """
    env = os.environ if environment is None else environment
    num_nodes = "1"
    if "TORCHELASTIC_RUN_ID" in env:
        launcher, names = "torchrun", ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        num_nodes = env.get("GROUP_WORLD_SIZE", "2")
    elif _by_srun(env):
        launcher, names = "srun", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        num_nodes = env.get("SLURM_STEP_NUM_NODES") or env.get("SLURM_NNODES", "2")
    elif "LOCAL_RANK" in env and "WORLD_SIZE" in env:
        # Lightning starts further processes on one machine only (`training/launched.py`).
        launcher, names = "lightning", ("LOCAL_RANK", "WORLD_SIZE", "LOCAL_RANK")
    else:
        launcher, names = "none", ()
    numbers = [int(env[name]) for name in names] or [0, 1, 0]
    return Member(
        rank=numbers[0],
        world_size=numbers[1],
        local_rank=numbers[2],
        launcher=launcher,
        host=socket.gethostname(),
        pid=os.getpid(),
        born=born(os.getpid()),
        num_nodes=int(num_nodes),
    )


def born(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot; 0 if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def _by_srun(env: Mapping[str, str]) -> bool:
    """Return whether srun started this process; Lightning decides in the same way."""
    return (
        int(env.get("SLURM_NTASKS", "1")) > 1
        and "SLURM_PROCID" in env
        and env.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    )
