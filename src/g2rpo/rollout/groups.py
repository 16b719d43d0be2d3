"""Generate groups of completions, whose size may depend on the task."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.interfaces import RolloutEngine
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.join import cat_rollouts, select_prompts, take_rollouts

SEED_STRIDE = 1 << 20
"""Difference of the seeds for two group sizes, larger than the number of draws in a step."""


def generate_groups(
    engine: RolloutEngine,
    batch: PromptBatch,
    sampling: Sampling,
    group_size_of: Mapping[str, int],
    seed: int,
) -> Rollouts:
    """Return completions for a batch, in the order of its prompts.

    The engine is called once for each group size that occurs in the batch.

    Args:
        engine: Engine that generates.
        batch: Prompts.
        sampling: Sampling settings, with the default group size.
        group_size_of: Group sizes of tasks that differ from the default.
        seed: Seed of this draw.
    """
    sizes = [group_size_of.get(prompt.task, sampling.group_size) for prompt in batch.prompts]
    if len(set(sizes)) == 1:
        return engine.generate(batch, sampling.with_group_size(sizes[0]), seed)
    parts, owners = [], []
    for call, size in enumerate(sorted(set(sizes))):
        rows = torch.tensor(
            [row for row, own in enumerate(sizes) if own == size], device=batch.input_ids.device
        )
        part = engine.generate(
            select_prompts(batch, rows), sampling.with_group_size(size), seed + call * SEED_STRIDE
        )
        parts.append(part)
        owners.append(rows[part.prompt])
    joined = replace(cat_rollouts(parts), prompt=torch.cat(owners))
    return take_rollouts(joined, joined.prompt.argsort(stable=True))


def group_means(
    values: Float[Tensor, " b"], prompt: Int[Tensor, " b"], num_prompts: int
) -> Float[Tensor, " p"]:
    """Return each group's mean in float64, on the CPU, where sums are deterministic."""
    owner = prompt.cpu()
    sums = torch.zeros(num_prompts, dtype=torch.float64).index_add_(0, owner, values.double().cpu())
    return sums / torch.bincount(owner, minlength=num_prompts)
