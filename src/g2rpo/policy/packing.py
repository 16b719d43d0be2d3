"""Batches for supervised training: sequences packed into rows, or one padded sequence per row.

    packed   [prompt 1 | completion 1 | prompt 2 | completion 2 | pad]
    padded   [prompt 1 | completion 1 | pad]

In packed rows positions restart with every sequence, and a token attends only to its own sequence,
so both give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
)
from g2rpo.records import PromptBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedBatch:
    """A batch of `r` rows of `s` tokens."""

    batch: PromptBatch
    input_ids: Int[Tensor, "r s"]
    position_ids: Int[Tensor, "a r s"]
    """Position within the sequence, which separates sequences; then the axes of M-RoPE."""
    targets: Bool[Tensor, "r s"]
    """True at completion tokens including the end token; only these are trained."""


def supervised_batch(
    policy: Any, batch: PromptBatch, completions: Sequence[list[int]], pad_id: int, row_tokens: int
) -> SupervisedBatch:
    """Pack sequences into rows in their order.

    Args:
        policy: Policy, which defines the positions.
        batch: Prompts.
        completions: Token ids of the completion to each prompt.
        pad_id: Token id of padding.
        row_tokens: Maximum tokens per row; only a single longer sequence exceeds it. With 1, every
            row holds one sequence.
    """
    sequences = _sequences(policy, batch, completions)
    rows: list[list[tuple[Tensor, Tensor, Tensor]]] = [[]]
    for sequence in sequences:
        if rows[-1] and sum(len(ids) for ids, _, _ in rows[-1]) + len(sequence[0]) > row_tokens:
            rows.append([])
        rows[-1].append(sequence)
    width = max(sum(len(ids) for ids, _, _ in row) for row in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    axes = len(sequences[0][1])
    positions = torch.arange(width).expand(axes, len(rows), width).clone()
    targets = torch.zeros((len(rows), width), dtype=torch.bool)
    for r, row in enumerate(rows):
        end = sum(len(ids) for ids, _, _ in row)
        input_ids[r, :end] = torch.cat([ids for ids, _, _ in row])
        positions[:, r, :end] = torch.cat([where for _, where, _ in row], 1)
        positions[0, r, end:] -= end  # padding counts as a separate sequence
        targets[r, :end] = torch.cat([target for _, _, target in row])
    return SupervisedBatch(
        batch=batch, input_ids=input_ids, position_ids=positions, targets=targets
    )


def _sequences(
    policy: Any, batch: PromptBatch, completions: Sequence[list[int]]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return (ids [n], positions [a, n], targets [n]) of each prompt with its completion, without
    padding.
    """
    positions, first = prompt_positions(policy, batch)
    out = []
    for i, completion in enumerate(completions):
        real = batch.attention_mask[i].bool()
        ids = torch.cat([batch.input_ids[i, real], torch.tensor(completion)])
        tail = completion_positions(first[i : i + 1], len(completion), len(positions))[:, 0]
        where = torch.cat([positions[:, i, real], tail], 1)
        own = torch.arange(len(ids))
        # A single axis separates sequences by itself.
        where = torch.cat([own[None], where]) if len(where) > 1 else where
        out.append((ids, where, own >= int(real.sum())))
    return out


def target_logprobs(policy: Any, batch: SupervisedBatch) -> Float[Tensor, " n"]:
    """Return the log-probability of every target token in nats, in row-major order."""
    family = family_of(policy)
    with computing(policy), recomputed_layers(policy):
        hidden = policy.model(
            input_ids=batch.input_ids,
            position_ids=family.position_ids(batch.position_ids),
            mm_encoder_outputs=encode_images(policy, batch.batch),
            use_cache=False,
            **family.further_inputs(policy, batch.input_ids),
        ).last_hidden_state
        logits = family.head(policy)(hidden[:, :-1][batch.targets[:, 1:]]).float()
    return logits.log_softmax(-1).gather(-1, batch.input_ids[batch.targets][:, None])[:, 0]
