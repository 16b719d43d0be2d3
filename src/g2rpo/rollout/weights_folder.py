"""Folders with the last weights, for the engines on this machine.

They are in shared memory if that has enough free space, otherwise in the folder for temporary
files. All ranks of a machine write their share, so that no rank needs the whole weights; and an
engine that is restarted loads them without the help of other ranks.
"""

import fcntl
import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from g2rpo import ranks
from g2rpo.policy.adapter import is_adapter
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.forward import compute_dtype
from g2rpo.rollout.serving_folder import write_adapter_folder, write_serving_folder

MEMORY = Path("/dev/shm")  # noqa: S108  mkdtemp makes a private folder in it
PREFIX = "g2rpo-weights-"


class SharedFolder:
    """A temporary folder that all ranks of a machine write together and read."""

    def __init__(self) -> None:
        self.path: Path | None = None
        """The folder of this machine; None before the first `replace` and after `remove`."""
        self._discard: Callable[[], None] = lambda: None

    def replace(self, size: int, write: Callable[[Path, int, int], None]) -> None:
        """Replace the folder. All ranks must call this together, when no engine reads it.

        Args:
            size: Expected size in bytes on each machine.
            write: Receives the folder, the index of this rank among the ranks of its machine, and
                their number.

        Raises:
            RuntimeError: A rank could not write; all ranks raise and name it.
        """
        own = socket.gethostname()
        hosts = ranks.all_gather_list([own])
        mates = [rank for rank, host in enumerate(hosts) if host == own]
        with ranks.raise_on_all_ranks():
            self.remove()
            if ranks.rank() == mates[0]:
                self.path = self._create(size)
        self.path = ranks.all_gather_list([self.path])[mates[0]]
        assert self.path is not None
        with ranks.raise_on_all_ranks():
            write(self.path, mates.index(ranks.rank()), len(mates))

    def remove(self) -> None:
        """Remove the folder, if this rank created it; that also happens when the process ends."""
        self.path = None
        self._discard()

    def _create(self, size: int) -> Path:
        place = (
            MEMORY
            if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 1.2 * size
            else Path(tempfile.gettempdir())
        )
        _sweep(place)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_WRONLY)
        # The lock marks the folder as in use; it ends with this process, even a killed one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._discard = weakref.finalize(self, _discard, folder, lock)
        return folder


def _discard(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


class EngineFolders:
    """What an engine loads: merged weights, or the weights without the adapter and the adapter.

    Args:
        lora: `merged` or `adapter`.
    """

    def __init__(self, lora: str) -> None:
        self.by_adapter = lora == "adapter"
        self._weights, self._adapter = SharedFolder(), SharedFolder()
        self._written = False

    @property
    def weights(self) -> Path | None:
        """Folder with a checkpoint."""
        return self._weights.path

    @property
    def adapter(self) -> Path | None:
        """Folder with the adapter; None if it is merged into the checkpoint."""
        return self._adapter.path

    def update(self, policy: Any, encoder: ChatEncoder) -> None:
        """Write the current weights, in shares. All ranks must call this together.

        Weights that the training of an adapter leaves unchanged are written once.
        """
        if not (self.by_adapter and self._written):
            write = partial(write_serving_folder, policy, encoder, merge=not self.by_adapter)
            self._weights.replace(weight_bytes(policy), write)
            self._written = True
        if self.by_adapter:
            self._adapter.replace(0, partial(write_adapter_folder, policy))

    def remove_weights(self) -> None:
        """Remove the checkpoint that this rank created, if no engine will load it again."""
        self._weights.remove()


def weight_bytes(policy: Any) -> int:
    """Return the size of the policy's weights in an engine: whole, in the compute dtype, merged."""
    numbers = sum(
        value.numel() for name, value in policy.named_parameters() if not is_adapter(name)
    )
    return int(numbers * compute_dtype(policy).itemsize)


def _sweep(place: Path) -> None:
    """Remove folders of killed runs, which with large models take much of the memory."""
    for folder in place.glob(PREFIX + "*"):
        try:
            with (folder / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # in use, owned by another user, or removed meanwhile
            continue
