"""Compute log-probability and entropy of every completion token.

A prompt and its images pass once per group (`shared_prefix.py`). Only completion positions are
projected to the vocabulary, in chunks (`head.py`), so logits of shape [b, t, V] never exist.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import (
    completion_positions,
    computing,
    encode_images,
    prompt_positions,
    recomputed_layers,
    repeat_images,
)
from g2rpo.policy.head import head_stats
from g2rpo.policy.prefix_attention import use_prefix_attention
from g2rpo.policy.shared_prefix import pack_groups
from g2rpo.records import PromptBatch

PREFIXES = ("shared", "flex", "repeated")


@dataclass(frozen=True, kw_only=True)
class PolicyPass:
    """How the policy computes log-probabilities in training.

    Args:
        prefix: `shared` passes a prompt once for its whole group. `flex` does the same with
            FlexAttention, which is compiled for a GPU. `repeated` passes it once per completion,
            for models whose attention `shared` does not support. The results are equal up to
            rounding.
    """

    prefix: str = "shared"

    def __post_init__(self) -> None:
        if self.prefix not in PREFIXES:
            raise ValueError(
                f"policy.prefix: expected one of {', '.join(PREFIXES)}, got {self.prefix!r}"
            )


class TokenStats(NamedTuple):
    """Log-probability and entropy per completion token in nats; 0 where the mask is False."""

    logprobs: Float[Tensor, "b t"]
    entropy: Float[Tensor, "b t"]


def repeated_hidden(
    policy: Any, batch: PromptBatch, completion_ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "n d"]:
    """Return the last hidden states that predict the completion tokens, in row-major order.

    Every completion passes in a row with its prompt.
    """
    times = completion_ids.shape[0] // batch.input_ids.shape[0]
    family = family_of(policy)
    positions, first = prompt_positions(policy, batch)
    tail = completion_positions(
        first.repeat_interleave(times), completion_ids.shape[1], len(positions)
    )
    input_ids = torch.cat([batch.input_ids.repeat_interleave(times, 0), completion_ids], 1)
    with recomputed_layers(policy):
        output = policy.model(
            input_ids=input_ids,
            attention_mask=torch.cat(
                [
                    batch.attention_mask.repeat_interleave(times, 0),
                    mask.to(batch.attention_mask.dtype),
                ],
                1,
            ),
            position_ids=family.position_ids(
                torch.cat([positions.repeat_interleave(times, 1), tail], 2)
            ),
            mm_encoder_outputs=repeat_images(policy, encode_images(policy, batch), batch, times),
            use_cache=False,
            **family.further_inputs(policy, input_ids),
        )
    start = batch.input_ids.shape[1] - 1
    return output.last_hidden_state[:, start : start + completion_ids.shape[1]][mask]


def token_stats(
    policy: Any,
    batch: PromptBatch,
    completion_ids: Int[Tensor, "b t"],
    completion_mask: Bool[Tensor, "b t"],
    *,
    forbidden: tuple[int, ...] = (),
    temperature: float = 1.0,
    prefix: str = "shared",
) -> TokenStats:
    """Return log-probability of every completion token and entropy of its distribution.

    Args:
        policy: Policy to evaluate.
        batch: Prompts.
        completion_ids: Completions, grouped by prompt; groups have equal sizes.
        completion_mask: True at the tokens of a completion.
        forbidden: Token ids that sampling excluded.
        temperature: Sampling temperature.
        prefix: `shared`, `flex` or `repeated`; see `PolicyPass`.
    """
    targets = completion_ids[completion_mask]
    with computing(policy):
        if prefix == "repeated":
            hidden = repeated_hidden(policy, batch, completion_ids, completion_mask)
        else:
            hidden = shared_hidden(
                policy, batch, completion_ids, completion_mask, flex=prefix == "flex"
            )
        logprobs, entropy = head_stats(
            family_of(policy).head(policy),
            hidden,
            targets,
            forbidden=forbidden,
            temperature=temperature,
        )
    blank = torch.zeros(completion_mask.shape, dtype=logprobs.dtype, device=logprobs.device)
    return TokenStats(
        blank.masked_scatter(completion_mask, logprobs),
        blank.masked_scatter(completion_mask, entropy),
    )


def shared_hidden(
    policy: Any,
    batch: PromptBatch,
    completion_ids: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    flex: bool = False,
) -> Float[Tensor, "n d"]:
    """Return the last hidden states that predict the completion tokens, in row-major order.

    Every prompt and image passes once.
    """
    use_prefix_attention(policy)
    packed = pack_groups(policy, batch, completion_ids, mask, flex=flex)
    with recomputed_layers(policy):
        output = policy.model(
            input_ids=packed.input_ids,
            position_ids=family_of(policy).position_ids(packed.position_ids),
            mm_encoder_outputs=encode_images(policy, batch),
            use_cache=False,
            groups=packed.groups,
        )
    return output.last_hidden_state[0, packed.predictors]
