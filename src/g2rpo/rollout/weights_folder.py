"""The policy in a folder for as long as engines on this machine read it: in memory, where the
machine has a file system there.
"""

import fcntl
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from g2rpo import ranks
from g2rpo.policy.encoder import QwenEncoder
from g2rpo.rollout.serving_folder import write_serving_folder

MEMORY = Path("/dev/shm")  # noqa: S108  a folder nobody else can enter is made in it
PREFIX = "g2rpo-weights-"


@contextmanager
def weights_folder(policy: Any, encoder: QwenEncoder) -> Iterator[Path]:
    """Written by this process for itself; gone afterwards."""
    size = sum(value.numel() * value.element_size() for value in policy.state_dict().values())
    place = (
        MEMORY
        if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 1.2 * size
        else Path(tempfile.gettempdir())
    )
    _sweep(place)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name,
        (Path(name) / ".lock").open("w") as lock,
    ):
        fcntl.flock(
            lock, fcntl.LOCK_EX
        )  # until it is closed: so a folder whose writer was killed is told from one in use
        write_serving_folder(policy, encoder, Path(name))
        yield Path(name)


@contextmanager
def shared_weights_folder(policy: Any, encoder: QwenEncoder) -> Iterator[Path]:
    """The same for all ranks at once, which hold the same weights: the first one of every machine
    writes.

    Every rank calls it, and none leaves it before all have read.
    """
    own = socket.gethostname()
    hosts = ranks.all_gather_list([own])
    with ExitStack() as written:
        path = None
        with ranks.raise_on_all_ranks():
            if hosts.index(own) == ranks.rank():
                path = written.enter_context(weights_folder(policy, encoder))
        yield ranks.all_gather_list([path])[hosts.index(own)]


def _sweep(place: Path) -> None:
    """Removes what killed runs have left: with large models, that is much of a machine's memory."""
    for folder in place.glob(PREFIX + "*"):
        try:
            with (folder / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # in use, somebody else's, or gone meanwhile
            continue
