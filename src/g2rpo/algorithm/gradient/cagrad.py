"""CAGrad: the worst task improves most, near the mean (Liu et al. 2021, arXiv 2110.14048).

Of all d with |d - g_0| <= c |g_0|, where g_0 is the mean of k gradients, the update uses k times
the one with the largest min over i of <g_i, d>. By section 3.2 and algorithm 1,

    d = g_0 + c |g_0| g_w / |g_w|,    w = argmin over the simplex of <g_w, g_0> + c |g_0| |g_w|

with g_w = sum w_i g_i. The factor k is ours: c = 0 is then the sum. Where |g_w| is (nearly) 0, no
step helps all tasks, and all weights are 0.
"""

from jaxtyping import Float
from torch import Tensor

from g2rpo.algorithm.gradient.weighting import torchjd


class CAGrad:
    """Looks in a ball around the mean gradient for the one that helps the worst task most.

    Args:
        c: Radius of the ball in units of the norm of the mean gradient, in [0, 1).
    """

    by_task = True

    def __init__(self, *, c: float = 0.4) -> None:
        if not 0 <= c < 1:
            raise ValueError(f"gradient.c: expected a radius in [0, 1), got {c}")
        self.c = c
        self._weighting = torchjd("cagrad", "cvxpy").CAGradWeighting(c=c)

    def __call__(self, gramian: Float[Tensor, "k k"], seed: int) -> Float[Tensor, " k"]:
        """Return 1 + k c |g_0| / |g_w| w."""
        # the solver takes gradients below its tolerance for 0, and the weights know no size
        weights: Tensor = len(gramian) * self._weighting(gramian / gramian.trace())
        return weights
