"""The patch projection as a product, against the convolution."""

import pytest
import torch
from closeness import near
from torch import Tensor, nn

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.patch_projection import PatchProjection, project_patches_by_product


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
