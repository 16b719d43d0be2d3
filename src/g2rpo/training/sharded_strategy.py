"""`trainer=fsdp`: weights, gradients and optimizer state are sharded over the processes.

With several nodes, each node holds all weights, sharded over its processes (HSDP): weights are
gathered within a node, and only the shards of gradients are summed between nodes.
"""

from dataclasses import dataclass
from typing import Any

from torch.distributed.device_mesh import init_device_mesh

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.sharding import Sharding
from g2rpo.training.sharded_checkpoints import ShardedCheckpoints


class ShardedStrategy(ShardedCheckpoints):
    """FSDP2 over the processes of a run.

    Args:
        across_nodes: Whether to shard over all processes of all nodes. It needs the least memory,
            but gathers weights between nodes. Otherwise each node holds all weights.
        **kwargs: Arguments of `ShardedCheckpoints` and of Lightning's `ModelParallelStrategy`, such
            as `timeout`.
    """

    def __init__(self, *, across_nodes: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.across_nodes = across_nodes

    def setup_environment(self) -> None:
        """Connect the processes: all of them share the data, and there is no tensor parallelism."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def sharding(self) -> Sharding:
        """Return how to spread a model over the connected processes."""
        mesh = self.device_mesh["data_parallel"]
        if self.num_nodes > 1 and not self.across_nodes:
            mesh = init_device_mesh(
                self.root_device.type,
                (self.num_nodes, self.num_processes),
                mesh_dim_names=("replicate", "shard"),
            )
        return Sharding(mesh=mesh, device=self.root_device)


@dataclass(frozen=True, kw_only=True)
class ShardedModels:
    """Loads policy and reference in shards, once the processes are connected.

    Args:
        checkpoint: The checkpoint to load.
        needs_reference: Whether the loss compares the policy with a reference.
    """

    checkpoint: Checkpoint
    needs_reference: bool

    def load(self, sharding: Sharding) -> tuple[Any, Any | None]:
        """Return the policy, and the reference or None; all ranks call this together."""
        policy = self.checkpoint.policy(sharding)
        reference = self.checkpoint.reference(policy, sharding) if self.needs_reference else None
        return policy, reference
