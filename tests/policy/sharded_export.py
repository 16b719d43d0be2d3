"""One of two processes that export a sharded policy: `python sharded_export.py CHECKPOINT OUT
whole|adapter`; the rank comes from the environment.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.distributed import DistributedConfig

sys.path.append(str(Path(__file__).parents[1]))
from rank_processes import move_adapter

from g2rpo import ranks
from g2rpo.policy.adapter import LoRA, has_adapter
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_adapter, save_checkpoint
from g2rpo.policy.weight_stream import full_tensors


def load_sharded(path: str) -> Any:
    """Every decoder layer is a unit; embedding, head and vision tower belong to the root."""
    config = AutoConfig.from_pretrained(path)
    config.base_model_fsdp_plan = config.vision_config.base_model_fsdp_plan = {}
    config.text_config.base_model_fsdp_plan = {"layers.*": "free_full_weight"}
    return AutoModelForImageTextToText.from_pretrained(
        path,
        config=config,
        dtype=torch.float32,
        distributed_config=DistributedConfig(fsdp_size=2, fsdp_mixed_precision=False),
    ).eval()


def main(folder: str, out: Path, kind: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    policy, encoder = load_sharded(folder), Checkpoint(path=folder).encoder()
    assert isinstance(policy, FSDPModule)
    if kind == "adapter":
        LoRA(rank=4, alpha=6).attach(policy)
        move_adapter(policy)
    before = [value.to_local().clone() for value in shards(policy)]
    for dtype, shard_bytes in (("float32", 2**40), ("bfloat16", 400_000)):
        save_checkpoint(policy, encoder, out / dtype, dtype, shard_bytes=shard_bytes)
    if has_adapter(policy):
        save_adapter(policy, out / "adapter", base=folder)
    with torch.no_grad():
        policy(input_ids=torch.tensor([[5, 6, 7]]))  # leaves the root gathered
    seen = {name: value.clone() for name, value in full_tensors(policy)}
    torch.save(seen, out / f"rank{ranks.rank()}.pt")
    assert all(torch.equal(a, b.to_local()) for a, b in zip(before, shards(policy), strict=True))
    message = ""
    try:
        (out / "file").touch()
        save_checkpoint(policy, encoder, out / "file" / "below", "float32")
    except RuntimeError as error:
        message = str(error)
    (out / f"rank{ranks.rank()}.json").write_text(json.dumps(message))
    dist.destroy_process_group()


def shards(policy: Any) -> list[DTensor]:
    return [value for value in policy.state_dict().values() if isinstance(value, DTensor)]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
