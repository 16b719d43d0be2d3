"""Ranks find each other, or say in one sentence why not; processes without a model."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from launch.launchers import ended, free_port, slurm, srun, started, torchrun_nodes

from g2rpo.launch import meeting as meeting_module
from g2rpo.launch.meeting import _own_address, from_first, is_first, meeting, own_member

pytestmark = pytest.mark.process
SCRIPT = str(Path(__file__).with_name("small_run.py"))
SOON = {"G2RPO_RENDEZVOUS_S": "6"}


def test_all_ranks_have_the_folder_of_rank_0(tmp_path: Path) -> None:
    run = ended(started(srun([SCRIPT, "nothing", "0", "60"]), tmp_path), tmp_path)
    assert run.codes == [0, 0]
    first, second = run.text.split()
    assert first == second
    assert first.startswith(f"{tmp_path}/run")


@pytest.mark.slow
def test_two_nodes_of_torchrun_have_the_folder_of_rank_0(tmp_path: Path) -> None:
    run = ended(started(torchrun_nodes([SCRIPT, "nothing", "0", "60"]), tmp_path), tmp_path)
    assert run.codes == [0, 0]
    assert len({line for line in run.text.split() if "/run" in line}) == 1


@pytest.mark.slow
def test_a_node_that_does_not_come_ends_the_others(tmp_path: Path) -> None:
    three = srun([SCRIPT, "hang", "2", "60"], size=3)
    run = ended(started(three[:2], tmp_path, SOON), tmp_path)
    assert run.codes[0] == 1
    assert "expected 3 ranks within 6 s, but 2 did not come (here: 0 on " in run.text
    assert run.seconds < 60


@pytest.mark.slow
def test_a_wrong_address_is_named(tmp_path: Path) -> None:
    # an address of the block for documentation, where nobody answers, and a name that is none
    for address in ("192.0.2.1", "no-such-host.invalid"):
        (_, second) = srun([SCRIPT, "nothing", "0", "60"])
        command, env = second
        run = ended(started([(command, env | {"MASTER_ADDR": address})], tmp_path, SOON), tmp_path)
        assert run.codes == [1]
        assert f"expected rank 0 at {address}:" in run.text
        assert run.seconds < 60


@pytest.mark.slow
def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = str(other.getsockname()[1])
        both = [
            (command, env | {"MASTER_PORT": port})
            for command, env in srun([SCRIPT, "nothing", "0", "60"])
        ]
        run = ended(started(both, tmp_path, SOON), tmp_path)
    assert run.codes == [1, 1]
    assert f"port {port} is in use by another program: set MASTER_PORT" in run.text
    assert run.seconds < 60


def test_a_single_process_meets_nobody() -> None:
    assert meeting() is None
    from_first("name", "value")
    assert is_first()
    assert own_member().launcher == "none"
    assert meeting_module._meeting is None


def test_rank_0_gives_an_address_that_others_reach() -> None:
    assert _own_address("127.0.0.1", 29500) == "127.0.0.1"
    assert _own_address("localhost", 29500) == "localhost"


@pytest.mark.slow
def test_slurm_gives_address_and_port_of_its_job() -> None:
    code = (
        "from g2rpo.launch.meeting import _address; from g2rpo.launch.member import member;"
        "print(*_address(member()))"
    )
    env = os.environ | slurm(rank=1, size=2, nodes=2) | {"SLURM_NODELIST": "gpu[07-08]"}
    env.pop("MASTER_PORT", None), env.pop("MASTER_ADDR", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["gpu07", "19711"]


def test_a_free_port_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))
