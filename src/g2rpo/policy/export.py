"""Write the policy as an ordinary Hugging Face folder, tensor by tensor."""

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from g2rpo import ranks
from g2rpo.files import replaced_folder
from g2rpo.policy.adapter import ADAPTER, is_adapter, saved_name
from g2rpo.policy.checkpoint import DTYPES
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.forward import full_tensor, is_sharded
from g2rpo.policy.weight_stream import published_tensors

SHARD_BYTES = 4 * 2**30
"""Maximum size of a weight file in bytes; a larger tensor gets a file of its own."""


def save_checkpoint(
    policy: Any,
    encoder: ChatEncoder,
    folder: Path,
    dtype: str = "bfloat16",
    *,
    shard_bytes: int = SHARD_BYTES,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write config, weights, tokenizer and image processor; an adapter is merged into the weights.

    The folder appears, or replaces an earlier one, only when it is complete. Rank 0 writes. If the
    policy is sharded, every rank must call this: rank 0 then holds one weight file in memory, the
    others hold one tensor. A policy that is not sharded may be saved by rank 0 alone.

    Args:
        policy: The model, sharded or not.
        encoder: Holds tokenizer and image processor.
        folder: Folder to write.
        dtype: Dtype of the written weights: `float32`, `bfloat16` or `float16`.
        shard_bytes: Maximum size of a weight file in bytes; several files get an index.
        extra: Texts of further files in the folder, by name.

    Raises:
        RuntimeError: on every rank, if rank 0 cannot write and the policy is sharded.
    """

    def write(stream: Iterator[tuple[str, Tensor]]) -> None:
        with replaced_folder(folder) as new:
            _write_settings(policy, encoder, new, dtype)
            for name, text in (extra or {}).items():
                (new / name).write_text(text, encoding="utf-8")
            _write_weights(stream, new, shard_bytes)

    # A tied output layer is left out, as Hugging Face folders do.
    _on_rank_0(policy, published_tensors(policy, DTYPES[dtype], tied=False), write)


def save_adapter(policy: Any, folder: Path, base: str) -> None:
    """Write the adapter in peft's format, for `PeftModel.from_pretrained(model, folder)`.

    Rank 0 writes; if the policy is sharded, every rank must call this.

    Args:
        policy: Policy with an adapter.
        folder: Folder to write.
        base: Folder or Hub id of the checkpoint that the adapter belongs to.

    Raises:
        RuntimeError: on every rank, if rank 0 cannot write and the policy is sharded.
    """

    def write(stream: Iterator[tuple[str, Tensor]]) -> None:
        with replaced_folder(folder) as new:
            write_adapter(policy, stream, new, base)

    _on_rank_0(policy, adapter_tensors(policy), write)


def adapter_tensors(policy: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the adapter's weights with their names in peft's format.

    If the policy is sharded, every rank must call this and exhaust the iterator.
    """
    for name, value in policy.state_dict().items():
        if is_adapter(name):
            yield saved_name(name), full_tensor(value.detach())


def write_adapter(
    policy: Any, stream: Iterator[tuple[str, Tensor]], folder: Path, base: str
) -> None:
    """Write the adapter's config and the weights of `adapter_tensors` to an existing folder."""
    config = policy.peft_config[ADAPTER]
    replace(config, base_model_name_or_path=base, inference_mode=True).save_pretrained(folder)
    weights = {name: value.cpu().contiguous() for name, value in stream}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _on_rank_0(policy: Any, stream: Iterator[tuple[str, Tensor]], write: Any) -> None:
    """Call `write(stream)` on rank 0; the other ranks help to gather if the policy is sharded."""
    with ExitStack() as stack:
        if is_sharded(policy):
            stack.enter_context(ranks.raise_on_all_ranks())
            # Exhausted even after an error, or the other ranks would wait forever.
            stack.callback(lambda: [None for _ in stream])
        elif ranks.rank() != 0:
            return
        if ranks.rank() == 0:
            write(stream)


def _write_settings(policy: Any, encoder: ChatEncoder, folder: Path, dtype: str) -> None:
    config = copy.deepcopy(policy.config)
    for part in (config, *(getattr(config, name) for name in config.sub_configs)):
        part.dtype = dtype
    # A sharded model has a class of its own, which no checkpoint names.
    config.architectures = [type(policy).__name__.removeprefix("FSDP")]
    config.save_pretrained(folder)
    policy.generation_config.save_pretrained(folder)
    encoder.save(folder)


def _write_weights(stream: Iterator[tuple[str, Tensor]], folder: Path, shard_bytes: int) -> None:
    """Write `model.safetensors`, or several files with their index."""
    files: list[list[str]] = []
    weights: dict[str, Tensor] = {}
    size = total = 0

    def flush() -> None:
        files.append(list(weights))
        save_file(weights, folder / f"{len(files)}.safetensors", metadata={"format": "pt"})
        weights.clear()

    for name, value in stream:
        if weights and size + value.nbytes > shard_bytes:
            flush()
            size = 0
        weights[name] = value.cpu().contiguous()
        size, total = size + value.nbytes, total + value.nbytes
    flush()
    if len(files) == 1:
        (folder / "1.safetensors").rename(folder / "model.safetensors")
        return
    weight_map = {}
    for number, names in enumerate(files, 1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        (folder / f"{number}.safetensors").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
