"""The other road: transformers' own `model(**inputs)`, one unpadded row at a time, its own
positions, all logits.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from closeness import near
from torch import Tensor

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import PolicyPass, TokenStats, token_stats
from g2rpo.records import Prompt, PromptBatch

LENGTHS = (3, 6, 1, 4, 6, 2, 5, 1)
"""Tokens of two completions for each of the four prompts."""


class Case(NamedTuple):
    """Four prompts with two completions each."""

    policy: Any
    encoder: QwenEncoder
    batch: PromptBatch
    ids: Tensor
    mask: Tensor

    def stats(self, **options: Any) -> TokenStats:
        return token_stats(self.policy, self.batch, self.ids, self.mask, **options)


@pytest.fixture(scope="module")
def case(policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]) -> Case:
    ids = torch.randint(10, 250, (8, 6), generator=torch.Generator().manual_seed(5))
    mask = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
    return Case(
        policy, encoder, encoder.encode(prompts), ids.where(mask, encoder.pad_token_id), mask
    )


def _plain_logits(case: Case, row: int) -> Tensor:
    """Logits that predict the completion of a row, [its tokens, vocabulary]."""
    one = case.encoder.encode([case.batch.prompts[row // 2]])
    ids = torch.cat([one.input_ids, case.ids[row : row + 1, : LENGTHS[row]]], 1)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == case.encoder.image_token_id).int(),
    }
    return case.policy(**inputs, **one.image_inputs()).logits[0, one.input_ids.shape[1] - 1 : -1]


def _plain(case: Case, forbidden: Sequence[int] = (), temperature: float = 1.0) -> TokenStats:
    """Log-probabilities and entropies as their definitions say, padded with zeros."""
    logprobs, entropy = torch.zeros(8, 6), torch.zeros(8, 6)
    for row, length in enumerate(LENGTHS):
        logits = _plain_logits(case, row)
        allowed = [i for i in range(logits.shape[1]) if i not in forbidden]
        weights = torch.exp(logits[:, allowed].double() / temperature)
        probs = weights / weights.sum(1, keepdim=True)
        where = torch.tensor([allowed.index(i) for i in case.ids[row, :length].tolist()])
        logprobs[row, :length] = probs[torch.arange(length), where].log().float()
        entropy[row, :length] = -(probs * probs.log()).sum(1).float()
    return TokenStats(logprobs, entropy)


@torch.no_grad()
@pytest.mark.parametrize(
    ("prefix", "temperature"), [("shared", 1.0), ("shared", 0.7), ("repeated", 0.7)]
)
def test_statistics_are_those_of_a_plain_forward_pass_of_one_row_at_a_time(
    prefix: str, temperature: float, case: Case
) -> None:
    forbidden = case.encoder.forbidden_token_ids
    stats, plain = (
        case.stats(forbidden=forbidden, temperature=temperature, prefix=prefix),
        _plain(case, forbidden, temperature),
    )
    assert near(stats.logprobs, plain.logprobs)
    assert near(stats.entropy, plain.entropy)
    assert (stats.logprobs[case.mask] < 0).all()
    assert (stats.logprobs[~case.mask] == 0).all()
    assert (stats.entropy[~case.mask] == 0).all()


@torch.no_grad()
def test_the_numbers_depend_on_the_picture_and_on_the_order_of_the_pictures(case: Case) -> None:
    stats = case.stats()
    # the first images of the first two prompts, both 64 patches, change places
    first, second, *rest = case.batch.images
    swapped = replace(case.batch, images=(second, first, *rest))
    changed = (
        token_stats(case.policy, swapped, case.ids, case.mask).logprobs - stats.logprobs
    ).abs()
    assert changed[:4].max(1).values.min() > 0.01
    assert changed[4:].max() < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_gradients_are_those_of_the_plain_forward_pass(temperature: float, case: Case) -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(8, 6, generator=generator), torch.randn(8, 6, generator=generator)
    parameters = dict(case.policy.named_parameters())
    forbidden = case.encoder.forbidden_token_ids
    both = (
        case.stats(forbidden=forbidden, temperature=temperature),
        _plain(case, forbidden, temperature),
    )
    weights = list(parameters.values())
    grads = [
        torch.autograd.grad((a * stats.logprobs).sum() + (b * stats.entropy).sum(), weights)
        for stats in both
    ]
    for name, ours, plain in zip(parameters, *grads, strict=True):
        assert torch.allclose(
            ours, plain, atol=1e-5 * float(plain.abs().max()) + 1e-6, rtol=1e-3
        ), name
    assert min(float(grad.abs().max()) for grad in grads[0]) > 0


def test_forbidden_tokens_have_probability_zero_and_leave_no_nan_behind(case: Case) -> None:
    allowed, words = range(10, 15), case.policy.config.text_config.vocab_size
    forbidden = tuple(token for token in range(words) if token not in allowed)
    ids = 10 + case.ids % 5
    stats = token_stats(case.policy, case.batch, ids, case.mask, forbidden=forbidden)
    # whatever is allowed shares the whole probability
    assert stats.entropy.max() <= torch.tensor(float(len(allowed))).log()
    total = sum(
        token_stats(
            case.policy,
            case.batch,
            torch.full_like(ids[:, :1], token),
            case.mask[:, :1],
            forbidden=forbidden,
        ).logprobs.exp()
        for token in allowed
    )
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4)
    grads = torch.autograd.grad(
        stats.logprobs.sum() + stats.entropy.sum(), list(case.policy.parameters())
    )
    assert all(grad.isfinite().all() for grad in grads)
    out = token_stats(
        case.policy,
        case.batch,
        torch.full_like(ids[:, :1], 15),
        case.mask[:, :1],
        forbidden=forbidden,
    ).logprobs
    assert out.exp().eq(0).all()


@torch.no_grad()
def test_what_stands_behind_the_end_of_a_completion_does_not_matter(case: Case) -> None:
    filled = case.ids.where(case.mask, 77)
    assert near(
        token_stats(case.policy, case.batch, filled, case.mask).logprobs, case.stats().logprobs
    )


def test_an_unknown_form_is_refused_with_its_key() -> None:
    assert PolicyPass().prefix == "shared"
    with pytest.raises(
        ValueError, match=r"policy\.prefix: expected one of shared, flex, repeated, got 'share'"
    ):
        PolicyPass(prefix="share")
