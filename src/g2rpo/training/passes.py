"""Equal numbers of passes on all ranks, which sharded weights need."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from g2rpo import ranks
from g2rpo.policy.sharding import is_sharded
from g2rpo.records import TASKS, Prompt, PromptBatch

Part = TypeVar("Part")


def padded(policy: Any, parts: Sequence[Part]) -> list[Part | None]:
    """Append None until every rank has equally many parts, if the weights are sharded.

    Each part is one pass of the policy. A pass gathers sharded weights with all ranks, so a rank
    without a part of its own must still make one.
    """
    if not is_sharded(policy):
        return list(parts)
    most = int(ranks.all_reduce_max(torch.tensor(len(parts))))
    return [*parts, *[None] * (most - len(parts))]


def filler(policy: Any, forbidden: Sequence[int]) -> tuple[PromptBatch, torch.Tensor, torch.Tensor]:
    """Return a prompt and a completion of one token each, for a pass whose result is not used.

    Args:
        policy: The model that will get it.
        forbidden: Tokens, such as those of images, that must not occur.

    Returns:
        The batch, completion ids [1, 1], and their mask.
    """
    token = next(token for token in range(len(forbidden) + 1) if token not in forbidden)
    ids = torch.tensor([[token]], device=next(policy.parameters()).device)
    prompt = Prompt(id="", task=TASKS[0], text="", images=(), answer="", answer_type="text")
    batch = PromptBatch(
        prompts=(prompt,),
        task=torch.zeros_like(ids[0]),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_images=torch.zeros_like(ids[0]),
    )
    return batch, ids, torch.ones_like(ids, dtype=torch.bool)
