"""How a run reads and writes its checkpoints on one device and with DDP."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from g2rpo.files import finish_replacing, new_file, put_in_place
from g2rpo.training.checkpoint_folder import FolderReader, is_checkpoint_folder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint file under another name and renames it when it is complete.

    Lightning's own plugin serializes the whole checkpoint in memory first, and copies it to its
    place if temporary files lie on another file system, where a kill can cut it off.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint file; a kill at any moment leaves the earlier one."""
        torch.save(checkpoint, new_file(Path(path)))
        put_in_place(Path(path))

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint file, or a folder that a run with `trainer=fsdp` wrote."""
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Return a checkpoint of either format, with whole tensors."""
    path = finish_replacing(path)
    if is_checkpoint_folder(path):
        checkpoint: dict[str, Any] = FolderReader(path).read(("",))
    else:
        checkpoint = torch.load(path, map_location=map_location, weights_only=False)
    return checkpoint


def read_hyper_parameters(path: Path) -> dict[str, Any]:
    """Return the configuration of the run that wrote a checkpoint; empty if it holds none."""
    path = finish_replacing(path)
    if is_checkpoint_folder(path):
        checkpoint = FolderReader(path).state
    else:
        checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    return checkpoint.get("hyper_parameters") or {}
