"""A temporary folder with the policy's weights, for engines on this machine.

It is in shared memory if that has enough free space, otherwise in the folder for temporary files.
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

MEMORY = Path("/dev/shm")  # noqa: S108  TemporaryDirectory makes a private folder in it
PREFIX = "g2rpo-weights-"


@contextmanager
def weights_folder(policy: Any, encoder: QwenEncoder) -> Iterator[Path]:
    """Write the weights to a folder that exists until the block ends."""
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
        # The lock marks the folder as in use; it ends with this process, even a killed one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_serving_folder(policy, encoder, Path(name))
        yield Path(name)


@contextmanager
def shared_weights_folder(policy: Any, encoder: QwenEncoder) -> Iterator[Path]:
    """Write the weights once per machine, for all ranks, which hold the same weights.

    Every rank must enter the block, and must leave it only after all ranks have read the folder.
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
    """Remove folders of killed runs, which with large models take much of the memory."""
    for folder in place.glob(PREFIX + "*"):
        try:
            with (folder / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # in use, owned by another user, or removed meanwhile
            continue
