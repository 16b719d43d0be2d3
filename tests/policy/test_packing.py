from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from closeness import near
from torch import Tensor

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.packing import SupervisedBatch, supervised_batch, target_logprobs
from g2rpo.records import Prompt, PromptBatch

COMPLETIONS = ("<thinking>2 squares.</thinking><answer>2</answer>", "red", "4", "the circle is red")


class Case(NamedTuple):
    """Four prompts with one demonstration each."""

    policy: Any
    encoder: QwenEncoder
    batch: PromptBatch
    completions: list[list[int]]

    def packed(self, row_tokens: int) -> SupervisedBatch:
        return supervised_batch(
            self.policy, self.batch, self.completions, self.encoder.pad_token_id, row_tokens
        )


@pytest.fixture(scope="module")
def case(policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]) -> Case:
    return Case(
        policy, encoder, encoder.encode(prompts), [encoder.tokenize(text) for text in COMPLETIONS]
    )


def _plain(case: Case) -> Tensor:
    """transformers' own forward pass, one unpadded sequence at a time, its own positions, all
    logits.
    """
    rows = []
    for prompt, completion in zip(case.batch.prompts, case.completions, strict=True):
        one = case.encoder.encode([prompt])
        ids = torch.cat([one.input_ids, torch.tensor([completion])], 1)
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == case.encoder.image_token_id).int(),
        }
        logits = case.policy(**inputs, **one.image_inputs()).logits[0, -len(completion) - 1 : -1]
        rows.append(logits.log_softmax(-1)[torch.arange(len(completion)), completion])
    return torch.cat(rows)


def _lengths(case: Case) -> list[int]:
    prompt_tokens = case.batch.attention_mask.sum(1).tolist()
    return [
        tokens + len(completion)
        for tokens, completion in zip(prompt_tokens, case.completions, strict=True)
    ]


def _real_tokens(batch: SupervisedBatch) -> list[int]:
    """Tokens a row, trailing padding left out: the last sequence ends with a trained token."""
    return [int(row.nonzero().max()) + 1 for row in batch.targets]


@torch.no_grad()
@pytest.mark.parametrize("row_tokens", [1, 120, 150, 10_000])
def test_packed_padded_and_one_at_a_time_give_the_same_numbers(row_tokens: int, case: Case) -> None:
    logprobs = target_logprobs(case.policy, case.packed(row_tokens))
    assert near(logprobs, _plain(case))
    assert len(logprobs) == sum(len(completion) for completion in case.completions)


def test_gradients_of_a_packed_row_are_those_of_padded_rows(case: Case) -> None:
    parameters = dict(case.policy.named_parameters())
    weights = torch.randn(
        sum(len(c) for c in case.completions), generator=torch.Generator().manual_seed(1)
    )
    packed, padded = (
        torch.autograd.grad(
            (weights * target_logprobs(case.policy, case.packed(size))).sum(),
            list(parameters.values()),
        )
        for size in (10_000, 1)
    )
    for name, x, y in zip(parameters, packed, padded, strict=True):
        assert torch.allclose(x, y, atol=1e-5 * float(y.abs().max()) + 1e-6, rtol=1e-3), name


def test_rows_are_filled_in_order_up_to_their_size(case: Case) -> None:
    a, b, c, d = _lengths(case)
    assert _real_tokens(case.packed(1)) == [a, b, c, d]
    assert _real_tokens(case.packed(10_000)) == [a + b + c + d]
    assert _real_tokens(case.packed(a + b)) == ([a + b, c + d] if c + d <= a + b else [a + b, c, d])
    assert (
        _real_tokens(case.packed(a + b - 1)) == [a, b + c, d]
        if b + c + d > a + b - 1
        else [a, b + c + d]
    )


def test_only_completion_tokens_are_trained(case: Case) -> None:
    for size in (1, 150, 10_000):
        batch = case.packed(size)
        assert batch.input_ids[batch.targets].tolist() == [
            token for completion in case.completions for token in completion
        ]


@torch.no_grad()
def test_a_sequence_does_not_see_its_neighbours_in_the_row(case: Case) -> None:
    other = case._replace(completions=[case.completions[0][::-1], *case.completions[1:]])
    changed = (
        target_logprobs(case.policy, case.packed(10_000))
        - target_logprobs(case.policy, other.packed(10_000))
    ).abs()
    first = len(case.completions[0])
    assert changed[:first].max() > 0.1
    assert changed[first:].max() < 1e-5
