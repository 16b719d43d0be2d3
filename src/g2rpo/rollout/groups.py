"""Groups of completions, which may differ in size from task to task."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.interfaces import RolloutEngine
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.join import cat_rollouts, select_prompts, take_rollouts

SEEDS_APART = 1 << 20
"""Between the calls for two group sizes; the draws of a step, which count by one, never get there.
"""


def generate_groups(
    engine: RolloutEngine,
    batch: PromptBatch,
    sampling: Sampling,
    group_size_of: Mapping[str, int],
    seed: int,
) -> Rollouts:
    """Completions for a batch; one call of the engine for each group size that occurs in it. Rows
    come in the order of the prompts.
    """
    sizes = [group_size_of.get(prompt.task, sampling.group_size) for prompt in batch.prompts]
    if len(set(sizes)) == 1:
        return engine.generate(batch, sampling.with_group_size(sizes[0]), seed)
    parts, owners = [], []
    for call, size in enumerate(sorted(set(sizes))):
        rows = torch.tensor(
            [row for row, own in enumerate(sizes) if own == size], device=batch.task.device
        )
        part = engine.generate(
            select_prompts(batch, rows), sampling.with_group_size(size), seed + call * SEEDS_APART
        )
        parts.append(part)
        owners.append(rows[part.prompt])
    joined = replace(cat_rollouts(parts), prompt=torch.cat(owners))
    return take_rollouts(joined, joined.prompt.argsort(stable=True))


def group_means(
    values: Float[Tensor, " b"], prompt: Int[Tensor, " b"], num_prompts: int
) -> Float[Tensor, " p"]:
    """Mean of each group's values, in float64 and on the CPU, where the order of summation is
    always the same.
    """
    owner = prompt.cpu()
    sums = torch.zeros(num_prompts, dtype=torch.float64).index_add_(0, owner, values.double().cpu())
    return sums / torch.bincount(owner, minlength=num_prompts)
