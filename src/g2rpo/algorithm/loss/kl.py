"""Three estimators of KL(policy || reference) from the log-probabilities of sampled tokens.

With d = logp - ref (Schulman 2020, joschu.net/blog/kl-approx.html):

    k1 = d               unbiased, of either sign
    k2 = d^2 / 2         biased, but its gradient is an unbiased estimate of the KL's gradient
    k3 = e^-d + d - 1    unbiased and never negative

All are in nats per token and have a gradient with respect to `logprobs`.
"""

from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

KLEstimator = Literal["k1", "k2", "k3"]

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to +-20 nats; exp(20) = 5e8 is safe in float32."""

MAX_K3 = 10.0
"""Upper bound of k3 in nats, so that one token cannot outweigh a batch; the value of EasyR1."""


def k1(logprobs: Float[Tensor, "b t"], ref_logprobs: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return logp - ref, in nats."""
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "b t"], ref_logprobs: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return half the square of logp - ref."""
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Float[Tensor, "b t"], ref_logprobs: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return exp(ref - logp) - (ref - logp) - 1, without gradient where a clamp applies.

    The difference is clamped to +-`MAX_LOG_RATIO`, the result to +-`MAX_K3`.
    """
    difference = (ref_logprobs - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return (difference.exp() - difference - 1).clamp(-MAX_K3, MAX_K3)


def completion_penalty(
    logprobs: Float[Tensor, "b t"],
    ref_logprobs: Float[Tensor, "b t"],
    mask: Shaped[Tensor, "b t"],
    *,
    estimator: KLEstimator = "k1",
) -> Float[Tensor, " b"]:
    """Return the KL of each completion, summed over its tokens in nats, without gradient.

    With `loss.kl_placement=reward`, `kl_coef` times this is subtracted from the reward.
    """
    with torch.no_grad():
        return ESTIMATORS[estimator](logprobs, ref_logprobs).where(mask.bool(), 0.0).sum(1)


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}
