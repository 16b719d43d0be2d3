"""Stands in for CUDA graphs on a CPU: a tape of operations, and a guard against what none can hold.

A CUDA graph repeats kernels with the addresses and numbers of the capture. The tape does the same
with operations of torch: `replay` runs each of them again on the very tensors of the capture. So a
Python number that changes between steps stays what it was, and a tensor that has moved is missed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""What torch says of operations whose result, or its shape, the host must read."""
UNTOLD = {
    torch.ops.aten.isin.Tensor_Tensor,
    torch.ops.aten._unique2.default,
    torch.ops.aten.repeat_interleave.Tensor,
}
"""Operations that may need it on a GPU, and of which torch does not say so."""

INDEXING = {torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_}
"""Operations that count the values of a mask, and need none of whole numbers."""


def tensors(*trees: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor)]


def written(function: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the arguments that an operation changes in place."""
    found = []
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[place] if place < len(args) else kwargs.get(argument.name))
    return tensors(found)


def memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class Guard(TorchDispatchMode):
    """Names operations that would end a capture: the host reads a value, or copies one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.count += 1
        indexing = func.overloadpacket in INDEXING
        masks = indexing and any(t.dtype in (torch.bool, torch.uint8) for t in tensors(args[1]))
        if masks or func in UNTOLD or (HOST & set(func.tags) and not indexing):
            self.found.append(f"{func} reads values")
        devices = {t.device.type for t in tensors(args, kwargs)}
        if kwargs.get("device") is not None and devices:
            devices.add(torch.device(kwargs["device"]).type)
        if len(devices) > 1:
            self.found.append(f"{func} mixes {sorted(devices)}")
        out = func(*args, **kwargs)
        return out


class _Taping(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        """What tensors from outside held before they were changed, by their memory."""
        self.made: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for target in written(func, args, kwargs):
            if memory(target) not in self.made | set(self.before):
                self.before[memory(target)] = (target, whole(target).clone())
        out = func(*args, **kwargs)
        known = {memory(t) for t in tensors(args, kwargs)}
        self.made |= {memory(t) for t in tensors(out)} - known
        self.calls.append((func, args, kwargs, out))
        return out


def whole(tensor: Tensor) -> Tensor:
    """Return the whole memory of a tensor, as numbers of its type."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.detach().as_strided((size,), (1,), 0)


class TapeRecorder:
    """A `Recorder` whose graphs are tapes. A capture runs nothing, as on a GPU."""

    def __init__(self) -> None:
        self.warm_ups = 0
        self.replays: list[int] = []
        """Number of replays of each tape."""
        self.released = 0

    def warm_up(self, step: Callable[[], None]) -> str | None:
        self.warm_ups += 1
        with Guard() as guard:
            step()
        return guard.found[0] if guard.found else None

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        with _Taping() as tape:
            step()
        for target, content in tape.before.values():
            whole(target).copy_(content)
        for *_, out in tape.calls:  # nothing has been computed yet
            for result in tensors(out):
                if memory(result) in tape.made and result.is_floating_point():
                    result.fill_(float("nan"))
        self.replays.append(0)
        index, life = len(self.replays) - 1, self.released

        def replay() -> None:
            assert self.released == life, "the memory of the graph was released"
            self.replays[index] += 1
            for func, args, kwargs, out in tape.calls:
                known = {memory(t) for t in tensors(args, kwargs)}
                again = func(*args, **kwargs)
                for old, new in zip(tensors(out), tensors(again), strict=True):
                    if memory(old) not in known:
                        old.copy_(new)

        return replay

    def release(self) -> None:
        self.released += 1


def to_meta(*owners: Any) -> None:
    """Exchange all tensors of modules and objects by ones on the meta device, which have no values.

    (torch's fake tensors on `cuda` cannot be indexed where torch is built without CUDA.)
    """
    known: dict[int, tuple[Tensor, Tensor]] = {}

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            old, new = known.get(id(value), (value, None))
            known[id(value)] = old, value.to("meta") if new is None else new
            return known[id(value)][1]
        return type(value)(map(moved, value)) if isinstance(value, list | tuple) else value

    for owner in owners:
        if isinstance(owner, torch.nn.Module):
            owner.to("meta")
        else:
            for name, value in vars(owner).items():
                setattr(owner, name, moved(value))
