"""Against what torch really keeps for the backward pass: every storage that a layer saves, counted
once.
"""

from typing import Any

import pytest
import torch
from shapes import random_batch, random_policy
from transformers import (
    DynamicCache,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from g2rpo.policy.forward import encode_images, prompt_positions, recompute_layers
from g2rpo.policy.prefix_cache import cache_argument
from g2rpo.policy.stats import token_stats
from g2rpo.records import PromptBatch
from g2rpo.training.estimate import activations
from g2rpo.training.estimate.shape import Shape, shape_of

CPU = torch.device("cpu")
PROMPTS, PROMPT, GROUP, COMPLETION = 2, 96, 3, 17


def qwen25() -> Any:
    text = {
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
        "layer_types": ["full_attention"] * 3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 96,
        "intermediate_size": 224,
        "num_heads": 3,
        "patch_size": 8,
        "out_hidden_size": 128,
        "window_size": 32,
        "fullatt_block_indexes": [0, 1],
    }
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=4,
        vision_start_token_id=5,
        vision_end_token_id=6,
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def kept(policy: Any, batch: PromptBatch) -> int:
    """Bytes of distinct storages that a training pass saves, weights apart."""
    own = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    found: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    ids = torch.randint(10, 500, (PROMPTS * GROUP, COMPLETION))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        token_stats(policy, batch, ids, torch.ones_like(ids, dtype=torch.bool))
    return sum(storage.nbytes() for pointer, storage in found.items() if pointer not in own)


def counted(shape: Shape, patches: int, *, checkpointing: bool) -> int:
    """The same by formula: what stays after the forward pass, without the work of a backward
    pass.
    """
    tokens = PROMPTS * (PROMPT + GROUP * (COMPLETION - 1))
    whole = activations.backbone(shape, tokens, patches, checkpointing=checkpointing)
    again = (
        max(tokens * activations.text_layer(shape), patches * activations.vision_layer(shape))
        if checkpointing
        else 0
    )
    return whole - again - tokens * activations.working(shape)


def patches_of(batch: PromptBatch) -> int:
    return sum(len(image["pixel_values"]) for image in batch.images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("images", "frac"), [(0, 0.0), (1, 0.6)])
def test_layers_keep_what_is_counted(dtype: torch.dtype, images: int, frac: float) -> None:
    policy = random_policy("tiny", CPU, dtype)
    batch = random_batch(policy, PROMPTS, PROMPT, images, frac, CPU, dtype)
    assert counted(shape_of(policy), patches_of(batch), checkpointing=False) == pytest.approx(
        kept(policy, batch), rel=0.1
    )


def test_qwen25_has_other_layers() -> None:
    policy = qwen25()
    shape = shape_of(policy)
    assert (shape.qk_norm, shape.gated, shape.mergers) == (False, True, 1)
    for images, frac in ((0, 0.0), (1, 0.6)):
        batch = random_batch(policy, PROMPTS, PROMPT, images, frac, CPU, torch.float32)
        assert counted(shape, patches_of(batch), checkpointing=False) == pytest.approx(
            kept(policy, batch), rel=0.15
        )


def test_checkpointing_keeps_the_inputs_of_layers() -> None:
    policy = random_policy("tiny", CPU, torch.float32)
    recompute_layers(policy)
    batch = random_batch(policy, PROMPTS, PROMPT, 1, 0.6, CPU, torch.float32)
    assert counted(shape_of(policy), patches_of(batch), checkpointing=True) == pytest.approx(
        kept(policy, batch), rel=0.3
    )


def test_a_frozen_tower_keeps_nothing() -> None:
    policy = random_policy("tiny", CPU, torch.float32)
    policy.model.visual.requires_grad_(False)
    batch = random_batch(policy, PROMPTS, PROMPT, 1, 0.6, CPU, torch.float32)
    shape = shape_of(policy)
    assert (
        activations.vision_layer(shape),
        activations.vision_input(shape),
        activations.vision_mergers(shape),
    ) == (0, 0, 0)
    assert counted(shape, patches_of(batch), checkpointing=False) == pytest.approx(
        kept(policy, batch), rel=0.1
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_keys_and_values_are_those_of_a_real_cache(dtype: torch.dtype) -> None:
    policy = random_policy("small", CPU, dtype)
    batch = random_batch(policy, 2, 40, 1, 0.5, CPU, dtype)
    cache = DynamicCache(config=policy.config.get_text_config())
    positions, _ = prompt_positions(policy, batch)
    policy.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=positions,
        use_cache=True,
        mm_encoder_outputs=encode_images(policy, batch),
        **cache_argument(policy.model, cache),
    )
    held = sum(
        states.numel() * states.element_size()
        for layer in cache.layers
        for states in (layer.keys, layer.values)
    )
    assert activations.cache(shape_of(policy)) * 2 * 40 == held


def small(kind: str) -> Any:
    """A small Qwen3-VL-MoE or Qwen2-VL."""
    text = {
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
    }
    vision: dict[str, Any] = {"depth": 2, "num_heads": 3, "patch_size": 8}
    tokens = {"image_token_id": 4, "vision_start_token_id": 5, "vision_end_token_id": 6}
    torch.manual_seed(0)
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 96, "hidden_size": 128, "mlp_ratio": 3}
        return Qwen2VLForConditionalGeneration(
            Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)
        ).eval()
    text |= {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 192}
    text["rope_parameters"]["mrope_interleaved"] = True
    vision |= {
        "hidden_size": 96,
        "intermediate_size": 256,
        "out_hidden_size": 128,
        "deepstack_visual_indexes": [0],
    }
    return Qwen3VLMoeForConditionalGeneration(
        Qwen3VLMoeConfig(text_config=text, vision_config=vision, **tokens)
    ).eval()


@pytest.mark.parametrize("kind", ["qwen3_vl_moe", "qwen2_vl"])
def test_mixtures_of_experts_and_qwen2_keep_what_is_counted(kind: str) -> None:
    policy = small(kind)
    shape = shape_of(policy)
    assert policy.config.model_type == kind
    assert shape.routed == (3 * 3 * 128 if kind == "qwen3_vl_moe" else 0)
    assert shape.width == 96
    for images, frac in ((0, 0.0), (1, 0.6)):
        batch = random_batch(policy, PROMPTS, PROMPT, images, frac, CPU, torch.float32)
        assert counted(shape, patches_of(batch), checkpointing=False) == pytest.approx(
            kept(policy, batch), rel=0.15
        )


def test_a_token_costs_the_experts_that_it_uses() -> None:
    policy = small("qwen3_vl_moe")
    expert = 3 * 128 * 192
    attention = 128 * (4 + 2 * 2) * 32 + 4 * 32 * 128
    router = 8 * 128
    assert shape_of(policy).cost.token == 2 * 3 * (3 * expert + attention + router)
