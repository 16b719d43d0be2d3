"""Write the policy as folders for an engine: a checkpoint, or an adapter."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from g2rpo import ranks
from g2rpo.files import write_whole
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.export import adapter_tensors, write_adapter
from g2rpo.policy.forward import compute_dtype
from g2rpo.policy.weight_stream import published_tensors

FILE_BYTES = 2**28
"""A process writes a file as soon as it holds this many bytes of weights."""


def dtype_name(policy: Any) -> str:
    """Return the compute dtype of the policy as `float32`, `bfloat16` or `float16`."""
    return str(compute_dtype(policy)).removeprefix("torch.")


def write_serving_folder(
    policy: Any,
    encoder: ChatEncoder,
    folder: Path,
    share: int = 0,
    num_shares: int = 1,
    *,
    merge: bool = True,
) -> None:
    """Write config, tokenizer, image processor and weights to `folder`.

    The weights have the policy's compute dtype. The image processor gets the encoder's bounds. The
    output layer is written even if it is tied to the embedding: vLLM may hold a rearranged copy of
    it, which a reload without the tensor would not update.

    If the policy is sharded, all ranks must call this together. A rank holds one whole tensor at a
    time, and at most `FILE_BYTES` more of its share.

    Args:
        policy: The policy.
        encoder: Its encoder.
        folder: An existing folder.
        share: Index of this process among those that write; -1 writes nothing and only helps to
            gather.
        num_shares: Number of processes that write to this folder, each its share of the tensors.
        merge: Whether an adapter is merged into the weights; otherwise it is left out.
    """
    with exhausted(published_tensors(policy, compute_dtype(policy), merge=merge)) as stream:
        if share == 0:
            _write_settings(policy, encoder, folder)
        pending: dict[str, Tensor] = {}
        num_files = size = 0
        written = [0] * num_shares
        for name, value in stream:
            owner = written.index(min(written))
            written[owner] += value.nbytes
            if owner != share:
                continue
            if pending and size + value.nbytes > FILE_BYTES:
                _save(pending, folder / f"model-{share}-{num_files}.safetensors")
                num_files, size, pending = num_files + 1, 0, {}
            # A copy, because safetensors refuses tensors that share memory.
            pending[name] = value.to("cpu", memory_format=torch.contiguous_format, copy=True)
            size += value.nbytes
        if pending:
            _save(pending, folder / f"model-{share}-{num_files}.safetensors")


def write_adapter_folder(policy: Any, folder: Path, share: int = 0, num_shares: int = 1) -> None:
    """Write the adapter in peft's format to `folder`.

    Args:
        policy: Policy with an adapter. If it is sharded, all ranks must call this together.
        folder: An existing folder.
        share: Index of this process among those of the folder. The adapter is small: process 0
            writes all of it, and the others only help to gather.
        num_shares: Number of processes of the folder.
    """
    with exhausted(adapter_tensors(policy)) as stream:
        if share == 0:
            write_adapter(policy, stream, folder, base="")


@contextmanager
def exhausted(stream: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Exhaust a stream of gathered tensors even after an error: other ranks help to gather it."""
    try:
        yield stream
    finally:
        for _ in stream:
            pass


def _write_settings(policy: Any, encoder: ChatEncoder, folder: Path) -> None:
    policy.config.save_pretrained(folder)
    encoder.save(folder)
    file = folder / "preprocessor_config.json"
    write_whole(
        file, json.dumps(json.loads(file.read_text()) | {"size": encoder.size}, indent=2) + "\n"
    )


def _save(weights: dict[str, Tensor], file: Path) -> None:
    save_file(weights, file, metadata={"format": "pt"})


def write_together(folder: Path, write: Callable[[Path, int, int], None]) -> None:
    """Write a folder with all ranks of rank 0's machine; the others help to gather.

    Args:
        folder: The folder, which all these ranks see.
        write: Writes a share of it, given the number of this share (-1 for none) and of all.
    """
    hosts = ranks.all_gather_list([gethostname()])
    writers = [rank for rank, host in enumerate(hosts) if host == hosts[0]]
    with ranks.raise_on_all_ranks():
        if ranks.rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
    with ranks.raise_on_all_ranks():
        share = writers.index(ranks.rank()) if ranks.rank() in writers else -1
        write(folder, share, len(writers))
