"""Gradients of a sharded policy in one of two processes: `python sharded_ranks.py CHECKPOINT OUT`;
rank and address from the environment. What is expected is computed before the processes know each
other, by a plain policy that makes all passes itself.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

sys.path.append(str(Path(__file__).parent))
from ranks_step import PromptEngine

from g2rpo.algorithm.advantage.grpo import GRPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.benchmark.evaluation.suite import weights_digest
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.forward import full_tensor, gathered
from g2rpo.policy.sharding import Sharding
from g2rpo.records import Experience, Sampling, Scores
from g2rpo.rollout.collect import KeepAll
from g2rpo.training import fused_adamw
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan, Row, select_rows
from g2rpo.training.gradients import GradientConflict, gradient_norm, sampled_gradient
from g2rpo.training.update import Updater

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointing": {"gradient_checkpointing": True},
    "frozen": {"freeze_vision": True},
    "adapter": {"adapter": LoRA(rank=4)},
}
SHARES = {"uneven": ([0, 1, 2], [3]), "none": ([0, 1, 2, 3], []), "one": ([0], [3])}
"""Prompts of each rank; prompt 3 has no image, so rank 1 never sees one."""


def experience_of(checkpoint: Checkpoint) -> Experience:
    encoder = checkpoint.encoder()
    prompts = [
        GymSource(levels=[0]).get(t, 0, "train") for t in ("math", "chart", "spatial", "math")
    ]
    prompts[3] = replace(prompts[3], images=(), id="text")
    batch, engine = encoder.encode(prompts), PromptEngine()
    engine.start(checkpoint.policy(), encoder)
    rollouts = engine.generate(batch, Sampling(group_size=2, max_new_tokens=9), 0)
    values = torch.linspace(-1.0, 1.5, 8)
    return Experience(
        batch=batch,
        rollouts=rollouts,
        task=batch.task_positions(TASKS)[rollouts.prompt],
        scores=Scores(total=values, parts={"accuracy": values}),
        rewards=values,
        advantages=values,
    )


def updater_of(checkpoint: Checkpoint) -> Updater:
    algorithm = Algorithm(
        tasks=TASKS,
        advantage=GRPO(),
        loss=ClipLoss(),
        shaping=Shaping(length=None, entropy=EntropyBand(low=0.0, high=0.5, weight=0.3)),
        batch=BatchPlan(prompts_per_step=4, group_size=2),
        optimizer=partial(torch.optim.SGD, lr=0.01),
        group_filter=KeepAll(),
        gradient_conflict=GradientConflict(every_n_steps=None),
    )
    forbidden = tuple(checkpoint.encoder().forbidden_token_ids)
    return Updater(algorithm, forbidden=forbidden, temperature=1.0)


def measured(policy: Any, updater: Updater, whole: Experience, own: Sequence[int]) -> Any:
    """Gradient by name, norm, and evenly spaced coordinates."""
    policy.zero_grad(set_to_none=True)
    parts = [select_rows(whole, [Row(prompt, [2 * prompt, 2 * prompt + 1])]) for prompt in own]
    updater.backward(policy, parts, lambda value: value.backward())
    gradient = {
        name: None if p.grad is None else full_tensor(p.grad)
        for name, p in policy.named_parameters()
    }
    return gradient, gradient_norm(policy), sampled_gradient(policy, 1000)


def gap(expected: Any, got: Any) -> float:
    """Largest difference of a coordinate, relative to the largest one; infinite if one has a
    gradient where the other has none.
    """
    if any((expected[0][name] is None) != (got[0][name] is None) for name in expected[0]):
        return float("inf")
    pairs = [(a, got[0][name]) for name, a in expected[0].items() if a is not None]
    largest = max(a.abs().max().item() for a, _ in pairs)
    found = max((a - b).abs().max().item() for a, b in pairs) / largest
    return max(found, abs(expected[1] / got[1] - 1), (expected[2] - got[2]).abs().max().item())


def traps(policy: Any, updater: Updater, whole: Experience, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = {"head": type(policy.lm_head).__name__}
    updater.logprobs(policy, whole)
    found["shards after a pass"] = all(isinstance(p, DTensor) for p in policy.parameters())
    found["share"] = sum(p.to_local().numel() for p in policy.parameters()) / sum(
        p.numel() for p in policy.parameters()
    )
    with torch.no_grad(), gathered(policy):
        found["plain when gathered"] = not any(isinstance(p, DTensor) for p in policy.parameters())
        if rank == 0:  # a pass of one rank alone
            policy.model(input_ids=torch.tensor([[11, 12]]), use_cache=False)
    found["shards after gathering"] = all(isinstance(p, DTensor) for p in policy.parameters())
    found["digest"] = weights_digest(policy.named_parameters())
    gradient, _, _ = measured(policy, updater, whole, [3] if rank else [])
    found["vision without images"] = [
        n for n, g in gradient.items() if "visual" in n and g is not None
    ]
    whole.advantages[2 * 3] = float("nan")
    try:
        measured(policy, updater, whole, [3] if rank else [0, 1])
    except FloatingPointError as error:
        found["nan"] = str(error)
    found["gradients after nan"] = any(p.grad is not None for p in policy.parameters())
    return found


def fused_gap(
    checkpoint: Checkpoint, sharding: Sharding, updater: Updater, whole: Experience, own: list[int]
) -> float:
    """Largest difference of a weight after a step of AdamW, by the fused kernel and by default."""
    found = []
    for device in ("cuda", "cpu"):  # torch has the kernel for a CPU too
        fused_adamw.FUSED_ON = (device,)
        policy = checkpoint.policy(sharding)
        measured(policy, updater, whole, own)
        optimizer = torch.optim.AdamW(policy.parameters(), lr=0.01)
        fused_adamw.fuse(optimizer)
        assert optimizer.param_groups[0]["fused"] is (True if device == "cpu" else None)
        optimizer.step()
        found.append(torch.cat([p.to_local().detach().flatten() for p in policy.parameters()]))
    return (found[0] - found[1]).abs().max().item()


def main(folder: str, out: Path) -> None:
    torch.set_num_threads(1)
    checkpoints = {name: Checkpoint(path=folder, **settings) for name, settings in CASES.items()}
    whole, updater = experience_of(checkpoints["plain"]), updater_of(checkpoints["plain"])
    expected = {
        (name, share): measured(
            checkpoint.policy(), updater, whole, sorted([*shares[0], *shares[1]])
        )
        for name, checkpoint in checkpoints.items()
        for share, shares in SHARES.items()
    }
    digest = weights_digest(checkpoints["plain"].policy().named_parameters())
    dist.init_process_group("gloo")
    rank, cpu = dist.get_rank(), torch.device("cpu")
    meshes = {
        "flat": init_device_mesh("cpu", (2,), mesh_dim_names=("shard",)),
        "replicated": init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicate", "shard")),
    }
    found: dict[str, Any] = {"plain digest": digest}
    for kind, mesh in meshes.items():
        for name in CASES if kind == "flat" else ("plain",):
            policy = checkpoints[name].policy(Sharding(mesh=mesh, device=cpu))
            for share, shares in SHARES.items():
                got = measured(policy, updater, whole, shares[rank])
                found[f"{kind} {name} {share}"] = gap(expected[name, share], got)
    policy = checkpoints["plain"].policy(Sharding(mesh=meshes["flat"], device=cpu))
    found |= traps(policy, updater, whole, rank)
    mixed = checkpoints["plain"].computing_in("bf16-mixed")
    policy = mixed.policy(Sharding(mesh=meshes["flat"], device=cpu))
    whole.advantages[2 * 3] = 1.0
    got = measured(policy, updater, whole, SHARES["uneven"][rank])
    flat = [
        torch.cat([g.flatten() for g in gradient.values()])
        for gradient in (expected["plain", "uneven"][0], got[0])
    ]
    found["bf16 dtype"] = str(flat[1].dtype)
    found["bf16 cosine"] = torch.cosine_similarity(*flat, dim=0).item()
    sharding = Sharding(mesh=meshes["flat"], device=cpu)
    found["fused"] = fused_gap(
        checkpoints["plain"], sharding, updater, whole, SHARES["uneven"][rank]
    )
    (out / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
