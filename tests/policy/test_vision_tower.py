"""The vision tower with the numbers of transformers: the patch projection as a product, against the
convolution; attention within all images of a size at once, against one call per image.
"""

from typing import Any

import pytest
import torch
from closeness import near
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)

from g2rpo.policy import vision_tower
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.vision_tower import (
    NAME,
    PatchProjection,
    attend_by_size,
    project_patches_by_product,
    within_segments,
)


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
    kernel = vision_tower.scaled_dot_product_attention

    def counted(*states: Tensor, **options: Any) -> Tensor:
        made.append(states[0].shape)
        return kernel(*states, **options)

    monkeypatch.setattr(vision_tower, "scaled_dot_product_attention", counted)
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


def both(**options: object) -> tuple[nn.Conv3d, nn.Module]:
    """Return a convolution and its copy that may multiply."""
    torch.manual_seed(0)
    plain = nn.Conv3d(3, 5, kernel_size=(2, 4, 6), stride=(2, 4, 6), **options)
    other = nn.Sequential(nn.Conv3d(3, 5, kernel_size=(2, 4, 6), stride=(2, 4, 6), **options))
    other[0].load_state_dict(plain.state_dict())
    project_patches_by_product(other)
    assert type(other[0]) is PatchProjection
    return plain, other[0]


def results(layer: nn.Module, patches: Tensor) -> list[Tensor]:
    output = layer(patches)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return [output, *torch.autograd.grad(output, [patches, *layer.parameters()], upstream)]


@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradients_are_those_of_the_convolution(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, other = both(bias=bias)
    patches = torch.randn(7, 3, 2, 4, 6, requires_grad=True)
    expected = results(plain, patches)
    monkeypatch.setattr(nn.Conv3d, "forward", None)  # it is not called
    for mine, right in zip(results(other, patches), expected, strict=True):
        assert mine.shape == right.shape
        assert near(mine, right, 1e-5)


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (2, 3, 2, 8, 6)), ({"padding": (0, 1, 0)}, (2, 3, 2, 4, 6))],
)
def test_larger_inputs_and_padding_are_left_to_the_convolution(
    options: dict[str, object], shape: tuple[int, ...]
) -> None:
    plain, other = both(**options)
    patches = torch.randn(shape)
    assert torch.equal(other(patches), plain(patches))


def test_a_policy_keeps_its_weights_and_their_names() -> None:
    policy = Checkpoint.packaged(name="tiny_qwen3_vl").policy()
    projection = policy.model.visual.patch_embed.proj
    assert type(projection) is PatchProjection
    assert "model.visual.patch_embed.proj.weight" in policy.state_dict()
    assert projection.weight.ndim == 5
