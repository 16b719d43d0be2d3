"""One forward pass per prompt for its whole group: all prompts and completions in one packed row.

    [prompt 1 | prompt 2 | ... | completion 1.1 | ... | completion 1.g | completion 2.1 | ...]

Positions of a completion continue those of its prompt; its tokens attend to the prompt and to
itself (`prefix_attention.py`). Per prompt, the layers see P + G * C tokens instead of G * (P + C).
The last token of a completion predicts nothing, so it is left out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import (
    completion_positions,
    encode_images,
    prompt_positions,
    recomputed_layers,
)
from g2rpo.policy.prefix_attention import use_prefix_attention
from g2rpo.policy.prefix_groups import Groups
from g2rpo.records import PromptBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedGroups:
    """A packed row of `s` tokens."""

    input_ids: Int[Tensor, "1 s"]
    position_ids: Int[Tensor, "a 1 s"]
    groups: Groups
    predictors: Int[Tensor, " n"]
    """Index in the row of the token that predicts each completion token, in row-major order."""


def pack_groups(
    policy: Any, batch: PromptBatch, completion_ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> PackedGroups:
    """Pack prompts and completions into one row.

    Every prompt has the same number of completions, and every completion at least one token.
    """
    group_size = len(completion_ids) // len(batch.input_ids)
    positions, first = prompt_positions(policy, batch)
    tail = completion_positions(
        first.repeat_interleave(group_size), completion_ids.shape[1], len(positions)
    )
    real = batch.attention_mask.bool()
    seen = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    groups = Groups(prompt_tokens=real.sum(1), completion_tokens=seen.sum(1))
    # The prompt's last token predicts a completion's first one; each other token is predicted by
    # the one before it.
    places = torch.empty_like(completion_ids)
    places[:, 0] = (groups.prompt_tokens.cumsum(0) - 1).repeat_interleave(group_size)
    places[:, 1:][seen[:, :-1]] = torch.arange(int(seen.sum()), device=mask.device) + int(
        real.sum()
    )
    return PackedGroups(
        input_ids=torch.cat([batch.input_ids[real], completion_ids[seen]])[None],
        position_ids=torch.cat([positions[:, real], tail[:, seen]], 1)[:, None],
        groups=groups,
        predictors=places[mask],
    )


def shared_hidden(
    policy: Any, batch: PromptBatch, completion_ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "n d"]:
    """Return the last hidden states that predict the completion tokens, in row-major order.

    Every prompt and image passes once.
    """
    use_prefix_attention(policy)
    packed = pack_groups(policy, batch, completion_ids, mask)
    with recomputed_layers(policy):
        output = policy.model(
            input_ids=packed.input_ids,
            position_ids=family_of(policy).position_ids(packed.position_ids),
            mm_encoder_outputs=encode_images(policy, batch),
            use_cache=False,
            groups=packed.groups,
        )
    return output.last_hidden_state[0, packed.predictors]
