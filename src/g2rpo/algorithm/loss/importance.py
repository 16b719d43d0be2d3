"""Correction for completions that another policy wrote: an engine's rounding, or older weights.

With rho = pi_old / pi_sampler of one token, where pi_old is the policy before the update (the
proximal policy of decoupled PPO, Hilton et al. 2021, arXiv 2110.00641, sec. 3), the surrogate loss
of a token is multiplied by its truncated importance weight (Ionides 2008; Yao et al. 2025,
fengyao.notion.site/off-policy-rl), with c = `tis_clip`:

    token       min(rho, c)
    sequence    min(S, c)                      S = product of rho over the completion
    both        min(rho, c) min(S / rho, c)    the same product, with two bounded factors

A weight that is far from 1 says that the policies disagree, and truncation then only hides it.
Rejection gives such tokens a weight of 0. With its level `token` this is IcePop (Ring-1T, arXiv
2510.18855); `sequence` and `geometric` (the mean of log rho, which does not grow with the length)
reject whole completions (Liu, Li et al. 2025, richardli.xyz/rl-collapse).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo.algorithm.loss.kl import MAX_LOG_RATIO

TISLevel = Literal["token", "sequence", "both"]
RejectionLevel = Literal["token", "sequence", "geometric"]


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """When tokens, or the whole sample, are too far from the policy in training to learn from.

    Args:
        bounds: Lowest and highest importance weight that is accepted, such as [0.5, 5]; None
            accepts all.
        level: `token` rejects single tokens by their weight. `sequence` rejects completions by the
            product over their tokens, `geometric` by the geometric mean over their tokens.
        min_ess_frac: The run stops if the effective sample size of a task's weights, as a share of
            its tokens, stays below this, in [0, 1); 0 never stops.
        patience: Number of consecutive rollout batches after which it stops.

    Raises:
        ValueError: if a value is out of range, with its key.
    """

    bounds: Sequence[float] | None = None
    level: str = "token"
    min_ess_frac: float = 0.1
    patience: int = 10

    def __post_init__(self) -> None:
        if self.level not in get_args(RejectionLevel):
            raise ValueError(
                "loss.rejection.level: expected one of"
                f" {', '.join(get_args(RejectionLevel))}, got {self.level!r}"
            )
        if self.bounds is not None and not (
            len(self.bounds) == 2 and 0 <= self.bounds[0] < 1 < self.bounds[1] < math.inf
        ):
            raise ValueError(
                "loss.rejection.bounds: expected null (off) or two weights around 1, such as"
                f" [0.5,5], got {self.bounds}"
            )
        if not 0 <= self.min_ess_frac < 1:
            raise ValueError(
                "loss.rejection.min_ess_frac: expected 0 (never stop) or a share below 1, got"
                f" {self.min_ess_frac}"
            )
        if self.patience < 1:
            raise ValueError(
                f"loss.rejection.patience: expected at least 1 rollout batch, got {self.patience}"
            )

    def accepted(
        self, log_weights: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Bool[Tensor, "b t"]:
        """Return which tokens are learned from; False outside the mask.

        Args:
            log_weights: log rho of each token; 0 outside the mask.
            mask: True on completion tokens.
        """
        if self.bounds is None:
            return mask
        if self.level == "token":
            weight = log_weights.exp()
        else:
            weight = log_weights.sum(1, keepdim=True)
            if self.level == "geometric":
                weight = weight / mask.sum(1, keepdim=True).clamp(min=1)
            weight = weight.exp()
        low, high = self.bounds
        return (weight >= low) & (weight <= high) & mask


def truncated_weights(
    log_weights: Float[Tensor, "b t"], level: TISLevel, clip: float
) -> Float[Tensor, "b t"]:
    """Return the truncated importance weight of each token, see the head of this file.

    Args:
        log_weights: log rho of each token; 0 outside the mask.
        level: Whose weight it is.
        clip: Upper bound of each factor.
    """

    def truncated(values: Tensor) -> Tensor:
        return values.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().clamp(max=clip)

    if level == "token":
        return truncated(log_weights)
    product = log_weights.sum(1, keepdim=True).expand_as(log_weights)
    if level == "sequence":
        return truncated(product)
    return truncated(log_weights) * truncated(product - log_weights)


def log_weights(
    old_logprobs: Float[Tensor, "b t"],
    sampler_logprobs: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
) -> Float[Tensor, "b t"]:
    """Return log rho of each token, without gradient; 0 outside the mask."""
    inside = torch.zeros_like(old_logprobs)
    return torch.where(mask, old_logprobs - sampler_logprobs, inside).detach()
