"""Turn the state of a run into JSON and a flat dictionary of tensors, and back, without pickle."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

TENSOR, TUPLE, PAIRS = "__tensor__", "__tuple__", "__pairs__"
"""Keys of the JSON objects that stand for a tensor, a tuple, and a dict whose keys are not text."""


def split_tensors(tree: Any) -> tuple[str, dict[str, Tensor]]:
    """Split nested dicts, lists and tuples into JSON and tensors.

    Args:
        tree: Values of the types that JSON knows, tuples and tensors.

    Returns:
        The JSON, in which every tensor is replaced by its name, and the tensors by these names. A
        name is the path to the tensor, such as `state_dict.policy.lm_head.weight`. An object that
        occurs twice has one name.

    Raises:
        TypeError: for any other value; the message has the path to it.
    """
    names: dict[int, tuple[str, Tensor]] = {}
    text = json.dumps(_plain(tree, "", names), indent=1)
    return text, {name: value.detach() for name, value in names.values()}


def join_tensors(text: str, tensor: Callable[[str], Any]) -> Any:
    """Undo `split_tensors`.

    Args:
        text: The JSON.
        tensor: Returns what takes the place of a tensor, given its name.
    """

    def whole(found: dict[str, Any]) -> Any:
        if TENSOR in found:
            return tensor(found[TENSOR])
        if TUPLE in found:
            return tuple(found[TUPLE])
        if PAIRS in found:
            return {key: value for key, value in found[PAIRS]}
        return found

    return json.loads(text, object_hook=whole)


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _plain(value: Any, path: str, names: dict[int, tuple[str, Tensor]]) -> Any:
    if isinstance(value, Tensor) and type(_local(value)) in (Tensor, torch.nn.Parameter):
        name, _ = names.setdefault(id(value), (path.removeprefix("."), value))
        return {TENSOR: name}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        items = {key: _plain(own, f"{path}.{key}", names) for key, own in value.items()}
        if all(isinstance(key, str) for key in items):
            return items
        return {PAIRS: [[_plain(key, path, names), own] for key, own in items.items()]}
    if isinstance(value, list | tuple):
        items = [_plain(own, f"{path}.{place}", names) for place, own in enumerate(value)]
        return items if isinstance(value, list) else {TUPLE: items}
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    kind = type(_local(value) if isinstance(value, Tensor) else value).__name__
    raise TypeError(
        f"checkpoint: expected plain values, tuples and tensors, got {kind} at"
        f" {path.removeprefix('.')}; return such values from state_dict or on_save_checkpoint"
    )
