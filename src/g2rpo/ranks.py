"""Collective operations of a distributed run. With one process, every function is the identity.

Every rank has the same weights and its own prompts. Counts, reward rankings and decisions of a step
use the data of all ranks, so that a run computes the same on any number of ranks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from g2rpo.launch import marks


class OtherRankError(RuntimeError):
    """An error that happened on another rank."""


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the 0-based rank of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the elementwise sum over ranks: a new tensor with shape and device of `values`."""
    return _reduced(values, dist.ReduceOp.SUM)


def all_reduce_max(values: Tensor) -> Tensor:
    """Return the elementwise maximum over ranks: a new tensor with shape and device of `values`."""
    return _reduced(values, dist.ReduceOp.MAX)


def all_gather_list(items: Sequence[Any]) -> list[Any]:
    """Return the items of all ranks, rank 0 first; ranks may have different numbers of items."""
    if world_size() == 1:
        return list(items)
    parts: list[Any] = [None] * world_size()
    marks.mark()
    dist.all_gather_object(parts, list(items))
    marks.mark()
    return [item for part in parts for item in part]


def gathered(columns: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], slice]:
    """Concatenate columns with one entry per completion over ranks.

    Returns:
        The joined columns in the order of ranks, and the slice that belongs to this rank.
    """
    if world_size() == 1:
        rows = len(next(iter(columns.values())))
        return dict(columns), slice(0, rows)
    parts = all_gather_list([{name: values.detach().cpu() for name, values in columns.items()}])
    sizes = [len(next(iter(part.values()))) for part in parts]
    start = sum(sizes[: rank()])
    joined = {
        name: torch.cat([part[name] for part in parts]).to(values.device)
        for name, values in columns.items()
    }
    return joined, slice(start, start + sizes[rank()])


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """Raise an error of one rank on all ranks, as a `RuntimeError` that names the rank.

    Ranks wait for each other at the end of the block.
    """
    if world_size() == 1:
        yield
        return
    raised: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001  raised again below, here and on every other rank
        raised = error
    messages = all_gather_list([f"rank {rank()}: {raised}"] if raised else [])
    if messages:
        kind = RuntimeError if raised else OtherRankError
        raise kind("\n".join(messages)) from raised


def stop_together() -> None:
    """Leave the run if a signal has come to any rank and the step in progress can be dropped.

    All ranks call it.

    Raises:
        StoppedTogether: on all ranks.
    """
    signum = int(all_reduce_max(torch.tensor(marks.asked())))
    if signum:
        raise marks.StoppedTogether(signum)


@contextmanager
def dropping_together() -> Iterator[None]:
    """If a signal makes one rank leave the block early, make all ranks end the run.

    Ranks wait for each other at the end of the block, and not within it.
    """
    with marks.dropping():
        yield
    stop_together()


def is_echo(error: BaseException) -> bool:
    """Return whether an error probably follows from the failure of another rank.

    Collective operations fail when a rank is gone, on all other ranks.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OtherRankError | dist.DistError) or "gloo" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@contextmanager
def named() -> Iterator[None]:
    """Add the number of this rank to the message of an error; other ranks are not informed."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if world_size() == 1:
            raise
        raise RuntimeError(f"rank {rank()}: {error}") from error


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its sum over ranks.

    A parameter that has no gradient on any rank keeps none.
    """
    if world_size() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    used = all_reduce_sum(
        torch.tensor([float(parameter.grad is not None) for parameter in trained])
    ).tolist()
    work = []
    marks.mark()
    for parameter, count in zip(trained, used, strict=True):
        if not count:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        work.append(dist.all_reduce(parameter.grad, async_op=True))
    for handle in work:
        handle.wait()
    marks.mark()


def _reduced(values: Tensor, operation: Any) -> Tensor:
    if world_size() == 1:
        return values
    # NCCL only supports tensors on a GPU.
    moved = values.detach().clone().to("cuda" if dist.get_backend() == "nccl" else values.device)
    marks.mark()
    dist.all_reduce(moved, op=operation)
    marks.mark()
    return moved.to(values.device)
