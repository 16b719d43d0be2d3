"""One of several processes that gather and sum in place: `python gloo_parts.py OUT`.

Written down: what every rank has then, also by gloo's own operation.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from g2rpo.policy.gloo_communication import InPlaceAllGather, InPlaceReduceScatter

PART = 5


def main(out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    # the ranks of the group are not those of the world, as with HSDP
    group = dist.new_group(list(reversed(range(world))), sort_ranks=False)
    own = torch.arange(PART) + 10.0 * group.rank()
    apart, within = torch.zeros(PART * world), torch.zeros(PART * world)
    InPlaceAllGather()(apart, own, group)
    part = within.chunk(world)[group.rank()]
    part.copy_(own)
    InPlaceAllGather()(within, part, group)
    whole = torch.arange(PART * world, dtype=torch.float32) * 2**rank
    summed, expected = torch.zeros(PART), torch.zeros(PART)
    dist.reduce_scatter_single(expected, whole.clone(), group=group)
    InPlaceReduceScatter()(summed, whole, group, dist.ReduceOp.SUM)
    torch.save([group.rank(), apart, within, summed, expected], out / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
