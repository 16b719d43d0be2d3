"""One of two processes that hold a sharded policy: `python weight_shares.py OUT`.

Written down: what all ranks together wrote for an engine, and what is said when one cannot write.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.distributed.fsdp import fully_shard

from g2rpo import ranks
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.rollout import serving_folder
from g2rpo.rollout.weights_folder import EngineFolders


def main(out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    checkpoint = Checkpoint.packaged(name="tiny_qwen3_vl")
    whole, policy = checkpoint.policy(), checkpoint.policy()
    for layer in policy.model.language_model.layers:
        fully_shard(layer)
    fully_shard(policy)
    folders = EngineFolders("merged")
    serving_folder.FILE_BYTES = 2**20
    folders.update(policy, checkpoint.encoder())
    files = sorted(folders.weights.glob("*.safetensors"))
    found: dict[str, torch.Tensor] = {}
    numbers = [0, 0]
    for file in files:
        weights = load_file(file)
        numbers[int(file.name.split("-")[1])] += sum(value.numel() for value in weights.values())
        assert not found.keys() & weights.keys()
        found |= weights
    state = whole.state_dict()
    differing = sorted(found.keys() ^ state.keys()) + [
        name for name, value in state.items() if not torch.equal(value, found[name])
    ]

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    if ranks.rank() == 1:
        serving_folder._save = fail
    said = ""
    try:
        folders.update(policy, checkpoint.encoder())
    except RuntimeError as error:
        said = str(error)
    torch.save(
        {
            "files": [file.name for file in files],
            "numbers": numbers,
            "differing": differing,
            "said": said,
        },
        out / f"rank{ranks.rank()}.pt",
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
