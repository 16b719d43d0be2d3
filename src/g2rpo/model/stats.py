"""The one place where the policy is called for training statistics.

Only completion positions are projected to the vocabulary, a chunk of tokens at a time, and every chunk is computed again in
the backward pass: logits of shape [b, t, V] never exist.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from g2rpo.model.forward import completion_positions, encode_images, masked_logits, prompt_positions, recomputed_layers, repeat_images
from g2rpo.records import PromptBatch


class TokenStats(NamedTuple):
    """Per completion token, in nats; 0 where the completion mask is False."""

    logprobs: Float[Tensor, "b t"]
    entropy: Float[Tensor, "b t"]


def completion_hidden(
    policy: Any, batch: PromptBatch, completion_ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t d"]:
    """Last hidden states at the positions that predict the completion tokens; `b` is a multiple of the number of prompts."""
    times = completion_ids.shape[0] // batch.input_ids.shape[0]
    positions, first = prompt_positions(policy, batch)
    tail = completion_positions(first.repeat_interleave(times), completion_ids.shape[1])
    with recomputed_layers(policy):
        output = policy.model(
            input_ids=torch.cat([batch.input_ids.repeat_interleave(times, 0), completion_ids], 1),
            attention_mask=torch.cat([batch.attention_mask.repeat_interleave(times, 0), mask.to(batch.attention_mask.dtype)], 1),
            position_ids=torch.cat([positions.repeat_interleave(times, 1), tail], 2),
            mm_encoder_outputs=repeat_images(encode_images(policy, batch), batch, times),
            use_cache=False,
        )
    start = batch.input_ids.shape[1] - 1
    return output.last_hidden_state[:, start : start + completion_ids.shape[1]]


def token_stats(
    policy: Any,
    batch: PromptBatch,
    completion_ids: Int[Tensor, "b t"],
    completion_mask: Bool[Tensor, "b t"],
    *,
    forbidden: tuple[int, ...] = (),
    temperature: float = 1.0,
    chunk_tokens: int = 1024,
) -> TokenStats:
    """Log-probability of every completion token and exact entropy of the distribution it was drawn from.

    Temperature and forbidden tokens are those of sampling, so that the numbers are comparable with the sampler's.
    """
    hidden = completion_hidden(policy, batch, completion_ids, completion_mask)
    rows, targets = hidden[completion_mask], completion_ids[completion_mask]
    parts = [
        checkpoint(_chunk, policy, h, y, forbidden, temperature, use_reentrant=False)
        for h, y in zip(rows.split(chunk_tokens), targets.split(chunk_tokens), strict=True)
    ]
    logprobs, entropy = (torch.cat(values) for values in zip(*parts, strict=True))
    blank = torch.zeros(completion_mask.shape, dtype=logprobs.dtype, device=logprobs.device)
    return TokenStats(blank.masked_scatter(completion_mask, logprobs), blank.masked_scatter(completion_mask, entropy))


def _chunk(
    policy: Any, hidden: Float[Tensor, "n d"], targets: Int[Tensor, " n"], forbidden: tuple[int, ...], temperature: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    logp = masked_logits(policy, hidden, forbidden, temperature).log_softmax(-1)
    # a forbidden token has p = 0 and log p = -inf; 0 * -inf is nan, in the gradient too, so its term is left out before the product
    finite = logp.masked_fill(logp == float("-inf"), 0.0)
    entropy = -(logp.exp() * finite).sum(-1)
    return logp.gather(-1, targets[:, None])[:, 0], entropy
