"""Ranks as launchers tell them."""

import os

import pytest
from launch.launchers import slurm

from g2rpo.launch.member import born, member

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
}
LIGHTNING = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("none", 0, 1, 0)),
        (TORCHRUN, ("torchrun", 5, 8, 1)),  # even where SLURM started torchrun
        (slurm(rank=5, size=8, nodes=2), ("srun", 5, 8, 1)),
        (LIGHTNING, ("lightning", 1, 2, 1)),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, ("none", 0, 1, 0)),
        (slurm(rank=1, size=4, nodes=1) | {"SLURM_JOB_NAME": "bash"}, ("none", 0, 1, 0)),
    ],
)
def test_a_process_knows_its_rank(environment: dict, expected: tuple) -> None:
    me = member(environment)
    assert (me.launcher, me.rank, me.world_size, me.local_rank) == expected
    assert me.is_first == (me.rank == 0)


@pytest.mark.parametrize(
    ("environment", "num_nodes"),
    [
        ({}, 1),
        (LIGHTNING, 1),
        (TORCHRUN, 2),  # not told: other machines may come
        (TORCHRUN | {"GROUP_WORLD_SIZE": "1"}, 1),
        (TORCHRUN | {"GROUP_WORLD_SIZE": "4"}, 4),
        (slurm(rank=5, size=8, nodes=2), 2),
        (slurm(rank=5, size=8, nodes=1), 1),
        (slurm(rank=0, size=8, nodes=4) | {"SLURM_STEP_NUM_NODES": "1"}, 1),
    ],
)
def test_a_process_knows_how_many_machines_take_part(environment: dict, num_nodes: int) -> None:
    assert member(environment).num_nodes == num_nodes


def test_a_process_is_known_by_its_id_and_its_start() -> None:
    me = member({})
    assert me.pid == os.getpid()
    assert me.born == born(os.getpid()) > 0
    assert born(2**22 + 1) == 0  # above the largest process id
