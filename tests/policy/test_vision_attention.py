"""Attention within images, all of a size at once, against one call per image."""

from typing import Any

import pytest
import torch
from closeness import near
from torch import Tensor
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)

from g2rpo.policy import vision_attention
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.vision_attention import NAME, attend_by_size, within_segments


def one_by_one(states: list[Tensor], lengths: list[int], scale: float) -> Tensor:
    """Softmax of each segment in float64."""
    parts = zip(*(rows[0].double().split(lengths, 1) for rows in states), strict=True)
    mixed = [(query @ key.mT * scale).softmax(-1) @ value for query, key, value in parts]
    return torch.cat(mixed, 1).transpose(0, 1)[None]


@pytest.mark.parametrize(
    ("lengths", "calls"), [([4, 4, 4], 1), ([5], 1), ([3, 6, 6, 3, 2, 6], 3), ([4, 0, 4, 1], 2)]
)
def test_each_segment_attends_to_itself_and_sizes_share_a_call(
    lengths: list[int], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    kernel = vision_attention.scaled_dot_product_attention

    def counted(*states: Tensor, **options: Any) -> Tensor:
        made.append(states[0].shape)
        return kernel(*states, **options)

    monkeypatch.setattr(vision_attention, "scaled_dot_product_attention", counted)
    generator = torch.Generator().manual_seed(0)
    states = [
        torch.randn(1, 2, sum(lengths), 8, generator=generator, requires_grad=True)
        for _ in range(3)
    ]
    found = within_segments(*states, lengths, 0.3)
    expected = one_by_one(states, lengths, 0.3)
    assert near(found, expected, 1e-5)
    assert len(made) == calls
    weights = torch.randn(found.shape, generator=generator)
    for mine, right in zip(
        torch.autograd.grad((found * weights).sum(), states),
        torch.autograd.grad((expected * weights).sum(), states),
        strict=True,
    ):
        assert near(mine, right, 1e-5)


def test_windows_and_whole_images_of_qwen2_5_vl_give_the_same_features() -> None:
    config = Qwen2_5_VLVisionConfig(
        depth=2,
        hidden_size=48,
        intermediate_size=64,
        num_heads=3,
        patch_size=8,
        out_hidden_size=64,
        window_size=32,
        fullatt_block_indexes=[1],
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    tower = Qwen2_5_VisionTransformerPretrainedModel(config).eval()
    grids = torch.tensor([[1, 6, 10], [1, 4, 4], [1, 6, 10]])  # windows of 4 x 4, 2 x 4 and 2 x 2
    pixels = torch.randn(int(grids.prod(1).sum()), 3 * 2 * 8 * 8)
    with torch.no_grad():
        expected = tower(pixels, grid_thw=grids).pooler_output
        config._attn_implementation = NAME
        found = tower(pixels, grid_thw=grids).pooler_output
    assert near(found, expected, 1e-5)


def test_another_attention_than_sdpa_stays() -> None:
    policy = Checkpoint.packaged(name="tiny_qwen3_vl").policy()
    assert policy.config.vision_config._attn_implementation == NAME
    policy.config.vision_config._attn_implementation = "eager"
    attend_by_size(policy)
    assert policy.config.vision_config._attn_implementation == "eager"
