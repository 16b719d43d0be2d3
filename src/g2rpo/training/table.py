"""The numbers of a rollout batch of all ranks: what advantages are computed from, and what a step
logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import Advantage
from g2rpo.rollout.collect import Collected


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionTable:
    """One row per completion, groups in the order of the stream: the same table on every rank and
    for any number of ranks.
    """

    group: Int[Tensor, " n"]
    task: Int[Tensor, " n"]
    """Positions in `TASKS`."""
    tokens: Int[Tensor, " n"]
    finished: Bool[Tensor, " n"]
    failed: Bool[Tensor, " n"]
    total: Float[Tensor, " n"]
    """Reward before shaping."""
    rewards: Float[Tensor, " n"]
    """What advantages are computed from."""
    advantages: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]]
    own: Int[Tensor, " b"]
    """Rows of this rank's completions, in their order there."""


def completion_table(
    collected: Collected,
    rewards: Float[Tensor, " b"],
    parts: Mapping[str, Float[Tensor, " b"]],
    advantage: Advantage,
) -> CompletionTable:
    """Gathers what all ranks drew, and ranks it. `rewards` and `parts` have one entry per
    completion of this rank.
    """
    rollouts = collected.rollouts
    device = rollouts.prompt.device
    places = torch.tensor(collected.places, dtype=torch.long, device=device)
    columns = {
        "group": places[rollouts.prompt],
        "task": collected.batch.task[rollouts.prompt],
        "tokens": rollouts.completion_mask.sum(1),
        "finished": rollouts.finished,
        "failed": collected.failed,
        "total": collected.scores.total,
        "rewards": rewards,
    }
    joined, mine = ranks.gathered(
        columns | {f"part/{name}": values for name, values in parts.items()}
    )
    order = joined["group"].argsort(stable=True)
    table = {name: values[order] for name, values in joined.items()}
    all_parts = {name: table.pop(f"part/{name}") for name in parts}
    advantages = advantage(
        table["rewards"],
        table["group"],
        table["task"],
        parts=all_parts,
        completion_tokens=table["tokens"],
    )
    return CompletionTable(
        **table, advantages=advantages, parts=all_parts, own=order.argsort()[mine]
    )
