"""How the ranks of a run find each other before anything is composed or loaded.

Rank 0 offers a key-value store at MASTER_ADDR:MASTER_PORT, the same one that torch.distributed uses
later (torchrun's agent offers it already). Through it the ranks learn where rank 0's coordinator
is, the run folder, and what else rank 0 decides for all of them.
"""

import errno
import json
import os
import socket
import threading
from dataclasses import asdict
from datetime import timedelta
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

from g2rpo.launch.coordinator import Coordinator
from g2rpo.launch.member import Member, member
from g2rpo.launch.monitor import Monitor, Watch
from g2rpo.wire import Wire

WAIT = "G2RPO_RENDEZVOUS_S"
"""Environment variable: seconds in which all ranks must have started; 60 if it is not set."""
SLACK_S = 10.0
"""Seconds beyond these in which torch may say by itself that nobody answers."""
FOLDER = "run_dir"
"""Name of the run folder in the store."""
PATIENCE_S = 24 * 3600.0
"""Seconds to wait for a value of rank 0; the monitor ends the wait if rank 0 fails."""


class Meeting:
    """What the ranks of a run share.

    Args:
        me: This process.
        store: The key-value store.
        monitor: This process's connection to rank 0.
    """

    def __init__(self, me: Member, store: Any, monitor: Monitor) -> None:
        self.me, self.store, self.monitor = me, store, monitor

    def tell(self, name: str, value: str) -> None:
        """Give a value to all ranks; called on rank 0."""
        self.store.set(name, value)

    def ask(self, name: str) -> str:
        """Return the value that rank 0 gives to all ranks; wait until it does."""
        self.store.wait([name], timedelta(seconds=PATIENCE_S))
        text: str = self.store.get(name).decode()
        return text


_meeting: Meeting | None = None
_watch: Watch | None = None


def meeting() -> Meeting | None:
    """Return what the ranks share; None in a run of one process."""
    return _meeting


def meet(me: Member) -> Meeting:
    """Meet the other ranks: connect to the store and to rank 0.

    Args:
        me: This process; MASTER_ADDR and MASTER_PORT are in the environment, or SLURM's variables.

    Raises:
        ConnectionError: if the port is in use or rank 0 cannot be reached; the message is one
            sentence.
    """
    global _meeting
    if _meeting is not None:
        return _meeting
    wait_s = float(os.environ.get(WAIT, "60"))
    address, port = _address(me)
    stay_on_this_machine(me)
    store = _store(me, address, port, wait_s)
    coordinator = None
    if me.is_first:
        coordinator = Coordinator(me, wait_s)
        found = {
            "host": _own_address(address, port),
            "port": coordinator.port,
            "key": coordinator.key.hex(),
        }
        store.set("coordinator", json.dumps(found | {"first": asdict(me)}))
    try:
        store.wait(["coordinator"], timedelta(seconds=wait_s))
        found = json.loads(store.get("coordinator"))
        near = me.is_first or me.num_nodes == 1
        wire = Wire.connect(
            ("127.0.0.1" if near else found["host"], found["port"]),
            bytes.fromhex(found["key"]),
            wait_s,
        )
    except (RuntimeError, OSError, EOFError) as error:
        raise _unreachable(me, address, port, wait_s) from error
    wire.keep_alive()
    _meeting = Meeting(me, store, Monitor(me, Member(**found["first"]), wire, coordinator))
    if _watch is not None:
        _begin(_meeting, _watch)
    return _meeting


def watch(settings: Watch) -> None:
    """Watch this process from now on, or from the meeting on if that comes later."""
    global _watch
    _watch = settings
    if _meeting is not None:
        _begin(_meeting, settings)


def _begin(met: Meeting, settings: Watch) -> None:
    if met.me.is_first:
        met.tell(FOLDER, str(settings.folder.resolve()))
    met.monitor.watch(settings)


def from_first(name: str, value: str) -> None:
    """Give a value of rank 0 to all ranks, if there are several."""
    if _meeting is not None and _meeting.me.is_first:
        _meeting.tell(name, value)


def is_first() -> bool:
    """Return whether this process writes the files of the run, also before torch.distributed."""
    return own_member().is_first


def own_member() -> Member:
    """Return who this process is, also after Lightning has removed the variables that say it."""
    return member() if _meeting is None else _meeting.me


def _address(me: Member) -> tuple[str, int]:
    if me.launcher == "srun" and not {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        from lightning.fabric.plugins.environments import SLURMEnvironment

        slurm = SLURMEnvironment()
        return slurm.main_address, slurm.main_port
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


def _store(me: Member, address: str, port: int, wait_s: float) -> Any:
    """Return the store; raise an error if it does not answer in time.

    In a thread, because torch waits for ever if another program listens at the port.
    """
    import_module("torch.distributed")  # takes seconds on a busy machine, and does not count
    made: SimpleQueue[Any] = SimpleQueue()

    def make() -> None:
        try:
            made.put(_connected_store(me, address, port, wait_s))
        except Exception as error:  # noqa: BLE001  raised again below
            made.put(error)

    threading.Thread(target=make, name="store", daemon=True).start()
    try:
        found = made.get(timeout=wait_s + SLACK_S)
    except Empty as error:
        raise _unreachable(me, address, port, wait_s) from error
    if isinstance(found, Exception):
        raise found
    return found


def _connected_store(me: Member, address: str, port: int, wait_s: float) -> Any:
    from torch.distributed import PrefixStore, TCPStore

    by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    serves = me.is_first and not by_agent
    try:
        # torch would listen on every address, and the store holds the coordinator's key
        near = _on_loopback(address, port) if serves and me.num_nodes == 1 else None
        store = TCPStore(
            address,
            port,
            is_master=serves,
            master_listen_fd=near,
            timeout=timedelta(seconds=wait_s),
            wait_for_workers=False,
            multi_tenant=True,  # torch.distributed opens it again in this process
        )
    except (RuntimeError, OSError) as error:
        if "EADDRINUSE" in str(error) or getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ConnectionError(
                f"{me.name}: port {port} is in use by another program: set MASTER_PORT to a free"
                " port on all nodes"
            ) from error
        raise _unreachable(me, address, port, wait_s) from error
    return PrefixStore(f"g2rpo/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _on_loopback(address: str, port: int) -> int | None:
    """Return the descriptor of a listener for this machine; None if `address` is not on it."""
    if not socket.gethostbyname(address).startswith("127."):
        return None
    return socket.create_server(("127.0.0.1", port)).detach()


def stay_on_this_machine(me: Member) -> None:
    """Let gloo and NCCL connect the processes of one node through its loopback device.

    They would otherwise listen on the network; variables that are set already stay.
    """
    if me.num_nodes == 1 and "lo" in {name for _, name in socket.if_nameindex()}:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")


def _unreachable(me: Member, address: str, port: int, wait_s: float) -> ConnectionError:
    return ConnectionError(
        f"{me.name}: expected rank 0 at {address}:{port} (MASTER_ADDR:MASTER_PORT), but could not"
        f" reach it within {wait_s:g} s: check that it runs, and the address, the port and the"
        f" network; {WAIT} sets the time"
    )


def _own_address(address: str, port: int) -> str:
    """Return an address of this machine that the other nodes reach.

    torchrun may put rank 0 on another machine than the store.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))  # sends nothing; chooses the network
        own: str = probe.getsockname()[0]
    return address if own.startswith("127.") else own
