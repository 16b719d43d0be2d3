"""PCGrad: conflicting parts of gradients are projected away (Yu et al. 2020, arXiv 2001.06782).

Algorithm 1: for each task i, h = g_i; then for all other tasks j in random order,

    h = h - min(0, <h, g_j>) / <g_j, g_j>  g_j

and the update uses the sum of all h. The order is drawn anew for every task and update.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.algorithm.gradient.weighting import torchjd


class PCGrad:
    """Projects each gradient onto the normal plane of those that it conflicts with."""

    by_task = True

    def __init__(self) -> None:
        self._weighting = torchjd("pcgrad").PCGradWeighting()

    def __call__(self, gramian: Float[Tensor, "k k"], seed: int) -> Float[Tensor, " k"]:
        """Return how often each g_i is contained in the sum of all h."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            weights: Tensor = self._weighting(gramian)
        return weights
