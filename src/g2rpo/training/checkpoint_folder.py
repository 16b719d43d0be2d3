"""Checkpoints as folders: every rank writes its shards, and a reader may have any number of ranks.

A folder holds `state.json` with all plain values, and safetensors files with the tensors, written
by torch.distributed.checkpoint. Nothing in it is pickled. It is written under another name, and
renamed when the last rank is done, so that a kill at any moment leaves a complete checkpoint.

In a background save, ranks agree on the files at once. A thread of each rank then copies its shards
to CPU memory and writes files: it never communicates, which would need a process group of its own
that outlives the thread. So ranks must meet again, in `BackgroundSave.complete`, to rename. Shards
do not change until the next optimizer step, so that only this step has to wait for the copies.
"""

import os
import shutil
import threading
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
import torch.futures
from torch import Tensor
from torch.distributed.checkpoint import (
    DefaultSavePlanner,
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import (
    SavePlan,
    SavePlanner,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import WriteResult
from torch.distributed.tensor import DTensor

from g2rpo import ranks
from g2rpo.files import new_folder, put_in_place, writing
from g2rpo.training.plain_values import join_tensors, split_tensors

STATE = "state.json"
FILE_BYTES = 2**28
"""Approximate size of a rank's files in bytes. One file at a time is serialized in memory, during
which no other thread of the process runs Python.
"""


def is_checkpoint_folder(path: Path) -> bool:
    """Return whether `path` is a checkpoint in the format of this module."""
    return (path / STATE).is_file()


class BackgroundSave:
    """A checkpoint folder that a thread of every rank is writing.

    Args:
        path: The folder that will take the place of an earlier one.
        writing: This rank's share of the work.
        copied: Set once this rank has copied its shards, or could not.
    """

    def __init__(self, path: Path, writing: "Future[Any]", copied: threading.Event) -> None:
        self.path, self._writing, self._copied = path, writing, copied

    def wait_until_copied(self) -> None:
        """Wait until this rank's shards may change."""
        self._copied.wait()

    def is_written(self) -> bool:
        """Return whether all ranks have written their files; all ranks call this together."""
        left = ranks.all_reduce_max(torch.tensor(float(not self._writing.done())))
        return not left.item()

    def complete(self) -> None:
        """Wait for the files of all ranks, and put the folder in place; all ranks call this.

        Raises:
            RuntimeError: on every rank, if one could not write; an earlier checkpoint then stays.
        """
        with ranks.raise_on_all_ranks(), writing(self.path):
            self._writing.result()
        with ranks.raise_on_all_ranks():
            if ranks.rank() == 0:
                put_in_place(self.path)


def save_folder(
    path: Path, state: Mapping[str, Any], threads: ThreadPoolExecutor | None = None
) -> BackgroundSave | None:
    """Write a checkpoint folder; all ranks call this together.

    Args:
        path: The folder; rank 0's counts. An earlier checkpoint is replaced at the end.
        state: The checkpoint: plain values and tensors. Sharded tensors are written by the ranks
            that hold the shards, plain values by rank 0.
        threads: Copy the tensors to CPU memory and write them in the background, by a thread of
            these. Sharded tensors must not change before `BackgroundSave.wait_until_copied`.

    Returns:
        The save in progress if it runs in the background; it must be completed.
    """
    text, tensors = split_tensors(state)
    with ranks.raise_on_all_ranks(), writing(path):
        if ranks.rank() == 0:
            new = new_folder(path)
            (new / STATE).write_text(text, encoding="utf-8")
    numbers = _file_numbers(tensors)
    if threads is None:
        with _without_warning(), writing(path):
            dcp.save(dict(tensors), storage_writer=_Writer(path, numbers))
        return None
    writer = _BackgroundWriter(path, numbers, threads)
    with _without_warning():
        dcp.save(dict(tensors), storage_writer=writer)
    return BackgroundSave(path, writer.writing, writer.copied)


def link_folder(path: Path, source: Path, text: str) -> None:
    """Write a checkpoint that shares the tensor files of another one.

    Only one rank calls this. Where the file system has no hard links, the files are copied.

    Args:
        path: The folder to write.
        source: The complete checkpoint with the same tensors.
        text: The plain values, as JSON of `split_tensors`.
    """
    new = new_folder(path)
    (new / STATE).write_text(text, encoding="utf-8")
    for file in source.glob("*.safetensors"):
        try:
            os.link(file, new / file.name)
        except OSError:
            shutil.copyfile(file, new / file.name)
    put_in_place(path)


class FolderReader:
    """Reads tensors of a checkpoint folder; all ranks read together.

    Args:
        path: The checkpoint folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = (path / STATE).read_text(encoding="utf-8")
        found = HuggingFaceStorageReader(str(path)).read_metadata().state_dict_metadata
        self.shapes: dict[str, tuple[torch.Size, torch.dtype]] = {
            name: (entry.size, entry.properties.dtype)  # type: ignore[union-attr]
            for name, entry in found.items()
        }
        """Shape and dtype of every tensor by name."""
        self.state: dict[str, Any] = join_tensors(self._text, lambda name: None)
        """The checkpoint with None in the place of tensors."""

    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill tensors, sharded or not, in place.

        Raises:
            ValueError: if the checkpoint has no tensor of a name and shape.
        """
        for name, value in tensors.items():
            shape = self.shapes[name][0] if name in self.shapes else None
            if shape != value.shape:
                raise ValueError(
                    f"{self._path}: expected {name} with shape {tuple(value.shape)}, got"
                    f" {'none' if shape is None else tuple(shape)}; resume with the model of the"
                    " run that wrote the checkpoint"
                )
        if tensors:
            with _without_warning():
                dcp.load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(self._path)))

    def read(self, prefixes: tuple[str, ...], like: Mapping[str, Tensor] | None = None) -> Any:
        """Return the checkpoint with some of its tensors, and None in the place of the others.

        Args:
            prefixes: How the names of the wanted tensors begin.
            like: Sharded tensors by name; a tensor of the checkpoint is sharded like the one with
                its name. All others are whole, in CPU memory.
        """
        like = like or {}
        tensors = {
            name: torch.empty_like(like[name], dtype=dtype)
            if name in like
            else torch.empty(shape, dtype=dtype)
            for name, (shape, dtype) in self.shapes.items()
            if name.startswith(prefixes)
        }
        self.read_into(tensors)
        return join_tensors(self._text, tensors.get)


class _Writer(HuggingFaceStorageWriter):
    """Writes safetensors of every rank, and puts the folder in place when all are written."""

    def __init__(self, path: Path, file_numbers: dict[str, int]) -> None:
        super().__init__(
            str(path.with_name(f".{path.name}.new")),
            fqn_to_index_mapping=file_numbers,
            save_distributed=True,
        )
        self._final = path

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Called on rank 0 after all ranks have written and synced their files."""
        put_in_place(self._final)


class _BackgroundWriter(_Writer):
    """Lets a thread write copies of this rank's tensors, and leaves the folder where it is."""

    def __init__(
        self, path: Path, file_numbers: dict[str, int], threads: ThreadPoolExecutor
    ) -> None:
        super().__init__(path, file_numbers)
        self.per_thread_copy_ahead = 0  # all tensors are in CPU memory
        self.writing: Future[Any] = Future()
        self.copied = threading.Event()
        self._threads = threads

    def write_data(
        self, plan: SavePlan, planner: SavePlanner
    ) -> torch.futures.Future[list[WriteResult]]:
        tensors: dict[MetadataIndex, Tensor] = {
            item.index: planner.resolve_data(item).detach()  # type: ignore[union-attr]
            for item in plan.items
        }
        # those that are not sharded are small, and the algorithm changes them at any time
        whole = {item.index for item in plan.items if item.type is not WriteItemType.SHARD}
        for index in whole:
            tensors[index] = tensors[index].to("cpu", copy=True)

        def work() -> None:
            try:
                copies = {
                    index: value if index in whole else value.to("cpu", copy=True)
                    for index, value in tensors.items()
                }
            finally:
                tensors.clear()
                self.copied.set()
            super(_BackgroundWriter, self).write_data(plan, _Copies(copies))

        self.writing = self._threads.submit(work)
        begun: torch.futures.Future[list[WriteResult]] = torch.futures.Future()
        begun.set_result([])
        return begun

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Do nothing: files are still being written."""


class _Copies(DefaultSavePlanner):
    """Hands out copied tensors."""

    def __init__(self, copies: dict[MetadataIndex, Tensor]) -> None:
        super().__init__()
        self._copies = copies

    def resolve_data(self, write_item: WriteItem) -> Tensor:
        return self._copies[write_item.index]


@contextmanager
def _without_warning() -> Iterator[None]:
    """Hide torch's warning that a run without other processes saves and loads by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _file_numbers(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of the file for each tensor, so that a rank's files stay small."""
    numbers, size = {}, 0
    for name, value in tensors.items():
        numbers[name] = 1 + size // FILE_BYTES
        size += value.nbytes // (value.device_mesh.size() if isinstance(value, DTensor) else 1)
    return numbers
