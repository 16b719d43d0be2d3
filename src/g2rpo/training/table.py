"""The completions of all ranks in one table, from which advantages and metrics are computed."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import Advantage
from g2rpo.rollout.kept_groups import Collected
from g2rpo.tasks import listed


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionTable:
    """One row per completion, groups in the order of the stream.

    The table is the same on every rank and for any number of ranks.
    """

    group: Int[Tensor, " n"]
    task: Int[Tensor, " n"]
    """Positions in `names`."""
    names: tuple[str, ...]
    """The tasks of the run."""
    tokens: Int[Tensor, " n"]
    finished: Bool[Tensor, " n"]
    failed: Bool[Tensor, " n"]
    total: Float[Tensor, " n"]
    """Reward before shaping."""
    rewards: Float[Tensor, " n"]
    """What advantages are computed from."""
    advantages: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]]
    """Parts of the reward, as in `Scores`; with the length part, if there is one."""
    own: Int[Tensor, " b"]
    """Rows of this rank's completions, in the order of its rollouts."""


def completion_table(
    collected: Collected,
    rewards: Float[Tensor, " b"],
    parts: Mapping[str, Float[Tensor, " b"]],
    advantage: Advantage,
    tasks: tuple[str, ...],
) -> CompletionTable:
    """Gather the completions of all ranks and compute their advantages.

    Args:
        collected: Completions and scores of this rank.
        rewards: Shaped reward of each completion of this rank.
        parts: Parts of the reward by name, for the same completions.
        advantage: Computes advantages from the table.
        tasks: The tasks of the run.

    Raises:
        RuntimeError: on every rank, with task and id of prompts whose advantage is not finite.
    """
    rollouts = collected.rollouts
    device = rollouts.prompt.device
    places = torch.tensor(collected.places, dtype=torch.long, device=device)
    columns = {
        "group": places[rollouts.prompt],
        "task": collected.batch.task_positions(tasks)[rollouts.prompt],
        "tokens": rollouts.completion_mask.sum(1),
        "finished": rollouts.finished,
        "failed": collected.failed,
        "total": collected.scores.total,
        "rewards": rewards,
    }
    # every rank needs the same columns, though its own tasks may lack a part
    names = sorted(set(ranks.all_gather_list(list(parts))))
    absent = torch.full_like(rewards, torch.nan)
    joined, mine = ranks.gathered(
        columns | {f"part/{name}": parts.get(name, absent) for name in names}
    )
    order = joined["group"].argsort(stable=True)
    table = {name: values[order] for name, values in joined.items()}
    all_parts = {name: table.pop(f"part/{name}") for name in names}
    advantages = advantage(
        table["rewards"],
        table["group"],
        table["task"],
        parts=all_parts,
        completion_tokens=table["tokens"],
    )
    own = order.argsort()[mine]
    _refuse_not_finite(advantages[own], collected)
    return CompletionTable(
        **table,
        names=tasks,
        advantages=advantages,
        parts=all_parts,
        own=own,
    )


def _refuse_not_finite(advantages: Float[Tensor, " b"], collected: Collected) -> None:
    """Raise `RuntimeError` on every rank if any advantage is nan or infinite."""
    rows = (~torch.isfinite(advantages)).nonzero()[:, 0].tolist()
    prompts = [collected.batch.prompts[int(collected.rollouts.prompt[row])] for row in rows]
    broken = ranks.all_gather_list([f"{prompt.task} {prompt.id!r}" for prompt in prompts])
    if broken:
        raise RuntimeError(
            f"the advantages are nan or infinite ({listed(broken)}); the weights are unchanged."
            " Check the rewards of these prompts, and the settings of advantage="
        )
