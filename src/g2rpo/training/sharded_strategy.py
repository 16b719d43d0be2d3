"""`trainer=fsdp`: weights, gradients and optimizer state are sharded over all processes."""

from dataclasses import dataclass
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.sharding import Sharding


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all processes."""

    def setup_environment(self) -> None:
        """Connect the processes; all of them share the weights."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def sharding(self) -> Sharding:
        """Return how to spread a model over the connected processes."""
        return Sharding(mesh=self.device_mesh["data_parallel"], device=self.root_device)


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
