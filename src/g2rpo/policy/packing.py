"""Demonstrations as supervised batches: several sequences in one row, or one a row, without a
difference in the numbers.

packed   [prompt 1 | completion 1 | prompt 2 | completion 2 | pad]      positions restart with every sequence, and a
padded   [prompt 1 | completion 1 | pad]                                token sees its own sequence only
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.policy.forward import (
    completion_positions,
    encode_images,
    prompt_positions,
    recomputed_layers,
)
from g2rpo.records import PromptBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedBatch:
    """`r` rows of `s` tokens. `targets` is True at completion tokens (end token included), the only
    ones that are trained.
    """

    batch: PromptBatch
    input_ids: Int[Tensor, "r s"]
    position_ids: Int[Tensor, "4 r s"]
    """Position in the own sequence (it tells sequences apart), then M-RoPE time, height, width."""
    targets: Bool[Tensor, "r s"]


def supervised_batch(
    policy: Any, batch: PromptBatch, completions: Sequence[list[int]], pad_id: int, row_tokens: int
) -> SupervisedBatch:
    """Fills rows of `row_tokens` with sequences in their order; a longer sequence makes a longer
    row. `row_tokens=1` means one a row.
    """
    sequences = _sequences(policy, batch, completions)
    rows: list[list[tuple[Tensor, Tensor, Tensor]]] = [[]]
    for sequence in sequences:
        if rows[-1] and sum(len(ids) for ids, _, _ in rows[-1]) + len(sequence[0]) > row_tokens:
            rows.append([])
        rows[-1].append(sequence)
    width = max(sum(len(ids) for ids, _, _ in row) for row in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    positions = torch.arange(width).expand(4, len(rows), width).clone()
    targets = torch.zeros((len(rows), width), dtype=torch.bool)
    for r, row in enumerate(rows):
        end = sum(len(ids) for ids, _, _ in row)
        input_ids[r, :end] = torch.cat([ids for ids, _, _ in row])
        positions[:, r, :end] = torch.cat([where for _, where, _ in row], 1)
        positions[0, r, end:] -= end  # padding is a sequence of its own
        targets[r, :end] = torch.cat([target for _, _, target in row])
    return SupervisedBatch(
        batch=batch, input_ids=input_ids, position_ids=positions, targets=targets
    )


def _sequences(
    policy: Any, batch: PromptBatch, completions: Sequence[list[int]]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(ids [n], positions [4, n], trained [n]) of each prompt with its completion, without
    padding.
    """
    positions, first = prompt_positions(policy, batch)
    out = []
    for i, completion in enumerate(completions):
        real = batch.attention_mask[i].bool()
        ids = torch.cat([batch.input_ids[i, real], torch.tensor(completion)])
        tail = completion_positions(first[i : i + 1], len(completion))[:, 0]
        where = torch.cat([positions[:, i, real], tail], 1)
        own = torch.arange(len(ids))
        out.append((ids, torch.cat([own[None], where]), own >= int(real.sum())))
    return out


def target_logprobs(policy: Any, batch: SupervisedBatch) -> Float[Tensor, " n"]:
    """Log-probability, in nats, of every trained token in row-major order; only their positions are
    projected to the vocabulary.
    """
    with recomputed_layers(policy):
        hidden = policy.model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            mm_encoder_outputs=encode_images(policy, batch.batch),
            use_cache=False,
        ).last_hidden_state
    logits = policy.lm_head(hidden[:, :-1][batch.targets[:, 1:]]).float()
    return logits.log_softmax(-1).gather(-1, batch.input_ids[batch.targets][:, None])[:, 0]
