"""GSPO: the clipped surrogate of one ratio per completion (Zheng et al. 2025, arXiv 2507.18071).

    s = exp(mean over tokens of (logp - old_logp))

The loss of every token of the completion is the clipped surrogate of s. The gradient reaches the
logp of each token through the mean (eq. 10). A mean of log-ratios stays close to 0, so the clip
bounds are about 1000 times tighter than those of `clip`: 3e-4 and 4e-4 in sec. 5.1 of the paper.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo.algorithm.loss.clip import check_clip_ratios, clipped_surrogate
from g2rpo.algorithm.loss.policy import PolicyLoss


@dataclass(kw_only=True)
class GSPOLoss(PolicyLoss):
    """The clipped surrogate loss of sequence ratios."""

    clip_ratio_low: float = 3e-4
    """The sequence ratio is clipped at 1 minus this, in [0, 1)."""
    clip_ratio_high: float = 4e-4
    """The sequence ratio is clipped at 1 plus this, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clip_ratios(self.clip_ratio_low, self.clip_ratio_high)

    def token_loss(
        self,
        log_ratio: Float[Tensor, "b t"],
        logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b 1"],
        mask: Bool[Tensor, "b t"],
    ) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Return what `PolicyLoss.token_loss` specifies."""
        lengths = mask.sum(1, keepdim=True).clamp(min=1)
        ratio = (log_ratio.sum(1, keepdim=True) / lengths).exp().expand_as(log_ratio)
        losses, cut = clipped_surrogate(
            ratio, advantages, self.clip_ratio_low, self.clip_ratio_high, dual_clip=None
        )
        return losses, cut, ratio
