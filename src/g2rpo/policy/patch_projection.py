"""The patch projection of Qwen-VL as a matrix product.

transformers writes it as a convolution whose input is a single patch. Libraries for convolutions
are slow at this shape: a quarter of a small vision tower's time on a CPU, and far more than all of
its other time on GPUs in bfloat16 (transformers#45750). transformers can load a product in its
place (`fusion_config`), which renames the weight; here name and shape stay.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


def project_patches_by_product(policy: Any) -> None:
    """Let three-dimensional convolutions of a policy multiply where they see a single patch."""
    for module in policy.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = PatchProjection


class PatchProjection(nn.Conv3d):
    """A convolution that is a matrix product if its input is as large as its kernel."""

    def forward(self, input: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n d t2 h2 w2"]:
        """Return what the convolution returns."""
        if tuple(input.shape[2:]) != self.kernel_size or self.groups != 1 or any(self.padding):
            return super().forward(input)
        found = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return found[..., None, None, None]
