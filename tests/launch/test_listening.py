"""Every socket on which a run listens is for this machine, or for this user alone."""

import os
import socket
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest
from launch.listening import addresses, family
from torch.distributed import TCPStore
from training.broken_runs import end, log, rows, start

from g2rpo.launch.coordinator import Coordinator
from g2rpo.launch.meeting import _connected_store, stay_on_this_machine
from g2rpo.launch.member import Member
from g2rpo.wire import Wire, private_listener

pytestmark = pytest.mark.process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def only_here(pids: list[int]) -> bool:
    return set(addresses(pids).values()) == {"127.0.0.1"}


def first(num_nodes: int = 1) -> Member:
    return Member(world_size=2, num_nodes=num_nodes)


def test_the_reader_sees_a_listener_on_all_addresses() -> None:
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in addresses([os.getpid()]).values()
    with socket.create_server(("::1", 0), family=socket.AF_INET6):
        assert "::1" in addresses([os.getpid()]).values()


def test_the_store_of_one_node_listens_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    before, port = set(addresses([os.getpid()])), free_port()
    store = _connected_store(first(), "localhost", port, 10)
    new = {ip for inode, ip in addresses([os.getpid()]).items() if inode not in before}
    assert new == {"127.0.0.1"}
    store.set("a", "b")
    # as torch.distributed opens it again, and as another rank does
    for serves in (True, False):
        other = TCPStore(
            "127.0.0.1",
            port,
            is_master=serves,
            timeout=timedelta(seconds=5),
            wait_for_workers=False,
            multi_tenant=True,
        )
        assert other.get("g2rpo/0/a") == b"b"


def test_the_coordinator_of_one_node_listens_on_this_machine_and_wants_a_key() -> None:
    before = set(addresses([os.getpid()]))
    coordinator = Coordinator(first(), wait_s=5)
    new = {ip for inode, ip in addresses([os.getpid()]).items() if inode not in before}
    assert new == {"127.0.0.1"}
    with pytest.raises((OSError, EOFError)):
        Wire.connect(("127.0.0.1", coordinator.port), b"guessed", 5)
    coordinator.close(0)


def test_the_socket_of_an_engine_is_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with private_listener(str(tmp_path / "engine")):
            found = (tmp_path / "engine").stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert os.umask(0o002) == 0o002
    finally:
        os.umask(before)


def test_processes_of_one_node_connect_through_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    stay_on_this_machine(first(num_nodes=2))
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth0")
    stay_on_this_machine(first())
    assert (os.environ["GLOO_SOCKET_IFNAME"], os.environ["NCCL_SOCKET_IFNAME"]) == ("lo", "eth0")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


@pytest.mark.slow
def test_a_run_of_two_processes_listens_on_this_machine_only(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder, ("trainer=ddp", "trainer.devices=2", "trainer.max_steps=100000"))
    try:
        limit_s = time.monotonic() + 300
        while len(rows(folder)) < 2:
            assert process.poll() is None, log(folder).read_text()
            assert time.monotonic() < limit_s
            time.sleep(0.2)
        pids = family(process.pid)
        found = addresses(pids)
    finally:
        end(process)
    assert len(pids) >= 2
    assert len(found) >= 3  # store, coordinator, gloo
    assert set(found.values()) == {"127.0.0.1"}
