"""Checks that as many processes were started as the configuration asks for."""

import os

from g2rpo.launch.member import member


def check_counts(devices: int, num_nodes: int) -> None:
    """Check that the Trainer counts as many processes as the launcher has started.

    Args:
        devices: Processes per node, `trainer.devices`.
        num_nodes: `trainer.num_nodes`.

    Raises:
        ValueError: with the keys to change.
    """
    me = member()
    if me.launcher in ("torchrun", "srun"):
        if devices * num_nodes != me.world_size:
            raise ValueError(
                f"trainer.devices={devices}, trainer.num_nodes={num_nodes}: expected"
                f" {me.world_size} processes, as many as {me.launcher} has started, got"
                f" {devices * num_nodes}; add trainer=ddp or trainer=fsdp{_counted(me.world_size)}"
            )
    elif num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={num_nodes}: expected torchrun or srun, which start the processes"
            " of several nodes, got python train.py alone; see docs/clusters.md"
        )


def _counted(world_size: int) -> str:
    """Return what to type, if the launcher says how many processes a node has."""
    per_node = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE")
    if per_node is None or world_size % int(per_node):
        return " and set both keys"
    return f" trainer.devices={per_node} trainer.num_nodes={world_size // int(per_node)}"
