"""How FSDP gathers weights and sums gradients over gloo without a second copy of them.

gloo's own all-gather and reduce-scatter copy the whole output or input first. For embedding and
head that copy is as large as the unsharded weights, at the moment when a step holds the most.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_api import AllGather, ReduceScatter


class _Allocating:
    """Allocates buffers as FSDP does by itself."""

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)


class InPlaceAllGather(_Allocating, AllGather):  # type: ignore[misc]
    """Every rank broadcasts its part into the output, which holds the own part already."""

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        async_op: bool = False,
    ) -> None:
        """Gather the parts of all ranks, in their order."""
        parts = output_tensor.chunk(group.size())
        own = parts[group.rank()]
        if own.data_ptr() != input_tensor.data_ptr():
            own.copy_(input_tensor)
        for source, part in enumerate(parts):
            dist.broadcast(part, group=group, group_src=source)


class InPlaceReduceScatter(_Allocating, ReduceScatter):  # type: ignore[misc]
    """Sums the input in its own memory, of which every rank keeps one part."""

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> None:
        """Write the sum of this rank's part to the output; the input is overwritten."""
        dist.all_reduce(input_tensor, op=op, group=group)
        output_tensor.copy_(input_tensor.chunk(group.size())[group.rank()])


def communicate_in_place(unit: FSDPModule) -> None:
    """Let a sharded module on the CPU gather and sum in place."""
    unit.set_custom_all_gather(InPlaceAllGather())
    unit.set_custom_reduce_scatter(InPlaceReduceScatter())
