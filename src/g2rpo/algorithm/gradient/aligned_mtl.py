"""Aligned-MTL: gradients made orthogonal and equally long (Senushkin et al., CVPR 2023).

Algorithm 1: with the eigenvectors V and eigenvalues s_1 >= ... >= s_r > 0 of G,

    w = V diag(sqrt(scale / s)) V' 1,    scale = s_r

The matrix of gradients is thereby replaced by the closest one whose singular values are all
sqrt(scale). The paper weighs the new gradients with 1 / k each, here they are added: for gradients
that are orthogonal and equally long, this is the sum. With `scale=min`, one short gradient makes
the whole update short; `median` and `rmse` take the median and the mean of s instead.
"""

from jaxtyping import Float
from torch import Tensor

from g2rpo.algorithm.gradient.weighting import torchjd

SCALES = ("min", "median", "rmse")


class AlignedMTL:
    """Removes both conflict and differences in size.

    Args:
        scale: Which eigenvalue the new ones equal: `min`, `median` or `rmse` (the mean).
    """

    by_task = True

    def __init__(self, *, scale: str = "min") -> None:
        if scale not in SCALES:
            raise ValueError(f"gradient.scale: expected one of {', '.join(SCALES)}, got {scale!r}")
        self.scale = scale
        self._weighting = torchjd("aligned_mtl").AlignedMTLWeighting(scale_mode=scale)

    def __call__(self, gramian: Float[Tensor, "k k"], seed: int) -> Float[Tensor, " k"]:
        """Return w."""
        weights: Tensor = len(gramian) * self._weighting(gramian)
        return weights
