"""One of several trainer processes with a vLLM engine beside it: `python vllm_ranks.py OUT
TENSOR_PARALLEL STRATEGY`, where STRATEGY is `ddp`, `fsdp`, or `lora`: sharded weights and an
adapter that goes over as an adapter.

Rank and size come from the environment. Written down: what was drawn, its gaps, what happened when
the engine of the last rank died in the middle (where it is not shared), and what was said when it
got no weights.
"""

import copy
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor

sys.path.append(str(Path(__file__).parents[1]))
from rank_processes import move_adapter

from g2rpo import ranks
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.policy.adapter import LoRA, has_adapter
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.choose_family import family_at
from g2rpo.policy.forward import is_sharded
from g2rpo.policy.sharding import Sharding, load_sharded
from g2rpo.policy.stats import token_stats
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.vllm import VLLMEngine
from g2rpo.rollout.vllm_subprocess import SubprocessEngine

GROUP = Sampling(group_size=3, max_new_tokens=16)
PROMPTS = 5


def updated(policy: Any) -> Any:
    """The same large step on every rank."""
    newer, generator = copy.deepcopy(policy), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in newer.parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                parameter.add_(
                    torch.randn(parameter.shape, generator=generator) * 0.1 * parameter.std()
                )
    return newer


class Killer:
    """Kills the engine when so many answers have come."""

    def __init__(self, engine: SubprocessEngine, after: int) -> None:
        self.engine, self.left, self.reply = engine, after, engine._reply

    def __call__(self) -> Any:
        if self.left == 0:
            os.killpg(self.engine.pid, signal.SIGKILL)
            self.engine._wire.close()  # further answers may have arrived already
        self.left -= 1
        return self.reply()


def adapted(policy: Any) -> Any:
    """The policy with an adapter that matters."""
    torch.manual_seed(0)
    LoRA(rank=4, alpha=8).attach(policy)
    move_adapter(policy)
    return policy


def sharded(path: str, values: Any) -> Any:
    """The same policy with its weights spread over the ranks; an adapter stays whole."""
    mesh = init_device_mesh("cpu", (ranks.world_size(),))
    sharding = Sharding(mesh=mesh, device=torch.device("cpu"))
    policy = load_sharded(path, family_at(path), sharding, torch.float32, torch.float32).eval()
    if has_adapter(values):
        LoRA(rank=4, alpha=8).attach(policy)
    whole = dict(values.named_parameters())
    with torch.no_grad():
        for name, own in policy.named_parameters():
            value = whole[name]
            if isinstance(own, DTensor):
                value = distribute_tensor(value, own.device_mesh, own.placements)
            own.copy_(value)
    return policy


def main(out: Path, tensor_parallel_size: int, strategy: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, last = ranks.rank(), ranks.rank() == ranks.world_size() - 1
    checkpoint = Checkpoint.packaged(name="tiny_qwen3_vl")
    policy, reader = checkpoint.policy(), checkpoint.encoder()
    if strategy == "lora":
        adapted(policy)
    newer = updated(policy)
    held, held_newer = policy, newer
    if strategy != "ddp":
        held, held_newer = (sharded(checkpoint.path, values) for values in (policy, newer))
        assert is_sharded(held)
    engine = VLLMEngine(
        max_new_tokens=16,
        max_model_len=512,
        tensor_parallel_size=tensor_parallel_size,
        log_dir=str(out),
        timeout_s=120,
        lora="adapter" if strategy == "lora" else "merged",
    )
    engine.check_world_size(ranks.world_size())
    engine.start(held, reader)

    def batch(shift: int) -> PromptBatch:
        """The same prompts on every rank, so that what differs is what the seed does."""
        return reader.encode(
            [GymSource().get(TASKS[i % 6], i + shift, "train") for i in range(PROMPTS)]
        )

    def drawn(shift: int) -> Rollouts:
        return engine.generate(batch(shift), GROUP, 4 + rank)

    @torch.no_grad()
    def gap(weights: Any, shift: int, rollouts: Rollouts) -> float:
        mask = rollouts.completion_mask
        stats = token_stats(
            weights,
            batch(shift),
            rollouts.completion_ids,
            mask,
            forbidden=reader.forbidden_token_ids,
        )
        return float((stats.logprobs - rollouts.old_logprobs).abs().max())

    engine.load_weights(held, 0)
    first = drawn(0)
    engine.load_weights(held_newer, 1)
    second = drawn(6)
    row = engine.metrics()
    if last and tensor_parallel_size == 1:
        engine._llm._reply = Killer(engine._llm, after=2)
    again = drawn(6)
    disturbed = engine.metrics()
    if rank == (ranks.world_size() - 1) // tensor_parallel_size * tensor_parallel_size:
        engine.push = lambda: None
    said = ""
    try:
        engine.load_weights(held, 2)
    except RuntimeError as error:
        said = str(error)
    written = {
        "texts": [first.texts, second.texts],
        "prompt": second.prompt.tolist(),
        "gaps": [gap(policy, 0, first), gap(newer, 6, second)],
        "same_after_death": torch.equal(second.completion_ids, again.completion_ids),
        "gap_after_death": gap(newer, 6, again),
        "row": row,
        "disturbed": disturbed,
        "said": said,
        "num_engines": len(list(out.glob("engine_rank*.log"))),
    }
    torch.save(written, out / f"rank{rank}.pt")
    engine._llm.stop()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
