"""The shared form against the repeated one, whose numbers `test_stats.py` holds against
transformers' own forward pass.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from closeness import near
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.forward import recompute_layers
from g2rpo.policy.shared_prefix import pack_groups
from g2rpo.policy.stats import TokenStats, token_stats
from g2rpo.records import Prompt, PromptBatch

UNEVEN = (3, 6, 1, 4, 6, 2, 5, 1, 1, 7, 2, 3)
"""Tokens of three completions for each of the four prompts."""
OF_ONE_TOKEN = (1,) * 12
EQUAL = (5,) * 12


def completions(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    ids = torch.randint(
        10, 250, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(5)
    )
    return ids, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def gradients(
    policy: Any, batch: PromptBatch, ids: Tensor, mask: Tensor, prefix: str
) -> tuple[TokenStats, dict[str, Tensor]]:
    a, b = torch.randn(2, *ids.shape, generator=torch.Generator().manual_seed(2))
    stats = token_stats(policy, batch, ids, mask, forbidden=(3, 4), temperature=0.8, prefix=prefix)
    loss = (a * stats.logprobs).sum() + (b * stats.entropy).sum()
    named = {
        name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad
    }
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return stats, {name: grad for name, grad in zip(named, found, strict=True) if grad is not None}


def assert_equal(policy: Any, batch: PromptBatch, lengths: Sequence[int]) -> None:
    ids, mask = completions(lengths)
    (shared, grads), (repeated, others) = (
        gradients(policy, batch, ids, mask, prefix) for prefix in ("shared", "repeated")
    )
    assert near(shared.logprobs, repeated.logprobs)
    assert near(shared.entropy, repeated.entropy)
    assert grads.keys() == others.keys()
    for name, grad in grads.items():
        # a bias in front of a softmax has no gradient but rounding
        assert (grad - others[name]).norm() <= 1e-4 * others[name].norm() + 1e-5, name
    assert min(grads[name].norm() for name in grads if "mlp" in name and "weight" in name) > 1e-3


@pytest.mark.parametrize("lengths", [UNEVEN, OF_ONE_TOKEN, EQUAL])
def test_both_forms_give_the_same_numbers_and_gradients(
    lengths: Sequence[int], policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    assert_equal(policy, encoder.encode(prompts), lengths)


@pytest.mark.parametrize("which", [[0], [1], [2], [2, 2]])
def test_so_do_prompts_alone_with_one_picture_with_three_and_with_none(
    which: list[int], policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    assert_equal(policy, encoder.encode([prompts[i] for i in which]), UNEVEN[:6])


def test_so_do_they_for_qwen2_5_vl() -> None:
    text = {
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_heads": 3,
        "patch_size": 8,
        "out_hidden_size": 64,
        "window_size": 32,
        "fullatt_block_indexes": [1],
    }
    torch.manual_seed(0)
    policy = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=4,
            vision_start_token_id=5,
            vision_end_token_id=6,
        )
    ).eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
    ids = torch.tensor([[0, 0, 20, 5, 4, 4, 4, 4, 6, 30], [20, 21, 22, 5, 4, 4, 4, 4, 6, 33]])
    batch = PromptBatch(
        prompts=tuple(
            Prompt(id=f"t/{i}", task="math", text="", images=(), answer="", answer_type="numerical")
            for i in range(2)
        ),
        input_ids=ids,
        attention_mask=(ids > 0).long(),
        num_images=torch.tensor([1, 1]),
        position=torch.arange(2),
        images=tuple(
            {"pixel_values": torch.randn(16, 384), "image_grid_thw": torch.tensor([[1, 4, 4]])}
            for _ in range(2)
        ),
    )
    assert_equal(policy, batch, UNEVEN[:6])


def test_so_do_recomputed_layers(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    recomputing = copy.deepcopy(policy)
    recompute_layers(recomputing)
    batch, (ids, mask) = encoder.encode(prompts), completions(UNEVEN)
    (stats, grads), (plain, others) = (
        gradients(model, batch, ids, mask, "shared") for model in (recomputing, policy)
    )
    assert torch.equal(stats.logprobs, plain.logprobs)
    assert all(
        (grad - others[name]).norm() <= 1e-5 * others[name].norm() + 1e-6
        for name, grad in grads.items()
    )
    assert_equal(recomputing, batch, UNEVEN)


@torch.no_grad()
def test_a_completion_is_not_changed_by_its_neighbours(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    batch, (ids, mask) = encoder.encode(prompts), completions(UNEVEN)
    before = token_stats(policy, batch, ids, mask).logprobs
    changed = ids.clone()
    changed[4] = (changed[4] + 1) % 200 + 10  # the second completion of the second prompt
    after = token_stats(policy, batch, changed, mask).logprobs
    moved = (after - before).abs().max(1).values
    assert moved[4] > 0.1
    assert moved[[row for row in range(12) if row != 4]].max() < 1e-5


def test_the_row_holds_every_prompt_once_and_no_last_token(
    policy: Any, encoder: QwenEncoder, ask: Callable[..., Prompt]
) -> None:
    batch = encoder.encode([ask("two and two?"), ask("why?")])
    ids = torch.tensor([[11, 12, 13], [21, 0, 0], [31, 32, 0], [41, 42, 43]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    packed = pack_groups(policy, batch, ids, mask)
    a, b = batch.attention_mask.sum(1).tolist()
    assert packed.input_ids[0, a + b :].tolist() == [11, 12, 31, 41, 42]
    assert (
        packed.input_ids[0, :a].tolist()
        == batch.input_ids[0][batch.attention_mask[0].bool()].tolist()
    )
    assert packed.position_ids[0, 0].tolist() == [*range(a), *range(b), a, a + 1, b, b, b + 1]
    end = a + b
    assert packed.predictors.tolist() == [
        a - 1,
        end,
        end + 1,
        a - 1,
        end - 1,
        end + 2,
        end - 1,
        end + 3,
        end + 4,
    ]


@torch.no_grad()
def test_pictures_pass_through_the_vision_tower_once_a_prompt(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    batch, (ids, mask) = encoder.encode(prompts), completions(UNEVEN)
    patches: list[int] = []
    hook = policy.model.visual.register_forward_pre_hook(
        lambda _module, args, kwargs: patches.append(len((*args, *kwargs.values())[0])),
        with_kwargs=True,
    )
    try:
        token_stats(policy, batch, ids, mask)
    finally:
        hook.remove()
    assert patches == [sum(len(image["pixel_values"]) for image in batch.images)]


@torch.no_grad()
def test_calls_without_groups_are_as_before(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    fresh, batch, (ids, mask) = copy.deepcopy(policy), encoder.encode(prompts), completions(UNEVEN)
    fresh.config.text_config._attn_implementation = "sdpa"
    before = token_stats(fresh, batch, ids, mask, prefix="repeated").logprobs
    token_stats(fresh, batch, ids, mask)
    assert torch.equal(token_stats(fresh, batch, ids, mask, prefix="repeated").logprobs, before)


def test_what_stands_under_the_padding_does_not_matter(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    batch, (ids, mask) = encoder.encode(prompts), completions(UNEVEN)
    other = replace(batch, input_ids=batch.input_ids.where(batch.attention_mask.bool(), 77))
    with torch.no_grad():
        stats = (
            token_stats(policy, batch, ids, mask),
            token_stats(policy, other, ids.where(mask, 78), mask),
        )
    assert torch.equal(stats[0].logprobs, stats[1].logprobs)
