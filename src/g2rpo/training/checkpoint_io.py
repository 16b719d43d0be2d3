"""How a run reads and writes its checkpoints on one device and with DDP.

A checkpoint holds plain values and tensors. Whatever else is found in a file is refused, because
reading it could run any code.
"""

import pickle
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch.serialization import get_unsafe_globals_in_checkpoint

from g2rpo.files import finish_replacing, replaced_content
from g2rpo.training.checkpoint_folder import FolderReader, is_checkpoint_folder

OPTIMIZER_STATES = "torchao.optim.subclass_8bit"
"""Module whose import lets torch read the states of `optimizer=adamw_8bit`."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint file under another name and renames it when it is complete.

    Lightning's own plugin serializes the whole checkpoint in memory first, and copies it to its
    place if temporary files lie on another file system, where a kill can cut it off.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint file; a kill at any moment leaves the earlier one.

        Raises:
            TypeError: if it could not be read again, because a callback or plug-in adds other
                types.
        """
        with replaced_content(Path(path)) as file:
            torch.save(checkpoint, file)
            file.flush()
            if found := get_unsafe_globals_in_checkpoint(file.name):
                raise TypeError(
                    f"checkpoint: expected plain values, tuples and tensors, got"
                    f" {', '.join(found)}; return such values from state_dict or on_save_checkpoint"
                )

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint file, or a folder that a run with `trainer=fsdp` wrote."""
        return read_checkpoint(Path(path), map_location)


def use_own_checkpoints(trainer: L.Trainer) -> None:
    """Let a trainer read and write its checkpoints in this way, unless a plugin was configured."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Return a checkpoint of either format, with whole tensors.

    Raises:
        ValueError: if a file holds anything but plain values and tensors.
    """
    path = finish_replacing(path)
    if is_checkpoint_folder(path):
        checkpoint: dict[str, Any] = FolderReader(path).read(("",))
    else:
        checkpoint = _read_file(path, map_location)
    return checkpoint


def read_hyper_parameters(path: Path) -> dict[str, Any]:
    """Return the configuration of the run that wrote a checkpoint; empty if it holds none."""
    path = finish_replacing(path)
    checkpoint = FolderReader(path).state if is_checkpoint_folder(path) else _read_file(path, "cpu")
    return checkpoint.get("hyper_parameters") or {}


def _read_file(path: Path, map_location: Any) -> dict[str, Any]:
    try:
        if any(name.startswith("torchao.") for name in _unknown_types(path)) and find_spec(
            "torchao"
        ):
            import_module(OPTIMIZER_STATES)
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        found = ", ".join(_unknown_types(path)) or "a file in another format"
        raise ValueError(
            f"{path}: expected a checkpoint of plain values and tensors, got {found}; reading it"
            " could run any code, so nothing was read. Use a checkpoint that this version of g2rpo"
            " wrote"
        ) from error
    return checkpoint


def _unknown_types(path: Path) -> list[str]:
    """Return the types and functions in a file that torch would not read; none of a broken file."""
    try:
        return get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return []
