"""Three estimators of KL(policy || reference) from the log-probabilities of sampled tokens
(Schulman 2020, joschu.net/blog/kl-approx.html).

With d = logp - ref:  k1 = d, unbiased, of either sign;  k2 = d^2 / 2, whose gradient is the KL's;  k3 = e^-d + d - 1, unbiased
and never negative. All in nats per token, with a gradient for `logprobs`.
"""

from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

KLEstimator = Literal["k1", "k2", "k3"]

MAX_LOG_RATIO = 20.0
"""exp of this is 5e8: far beyond any ratio that still carries information, and safe in float32."""

MAX_K3 = 10.0
"""One token that the reference finds absurd must not outweigh a batch; the value of EasyR1."""


def k1(logprobs: Float[Tensor, "b t"], ref_logprobs: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """logp - ref, in nats."""
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "b t"], ref_logprobs: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Half the square of logp - ref."""
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Float[Tensor, "b t"], ref_logprobs: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """exp(ref - logp) - (ref - logp) - 1, the difference clamped to +-20 and the result to +-10 (no
    gradient beyond).
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
    """KL of whole completions (sum over tokens, nats), without gradient: times `kl_coef`, what to
    subtract from the reward.
    """
    with torch.no_grad():
        return ESTIMATORS[estimator](logprobs, ref_logprobs).where(mask.bool(), 0.0).sum(1)


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}
