"""CISPO: log-likelihood with a clipped importance weight (MiniMax-M1, arXiv 2506.13585, eq. 4).

    -A logp stop_grad(clip(r, 1 - low, 1 + high))

Every token keeps its gradient; clipping only limits its weight.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo.algorithm.loss.clip import check_clip_ratios
from g2rpo.algorithm.loss.policy import PolicyLoss


@dataclass(kw_only=True)
class CISPOLoss(PolicyLoss):
    """Log-likelihood with clipped importance weights."""

    clip_ratio_low: float = 0.2
    """Weights below 1 - clip_ratio_low are raised to it."""
    clip_ratio_high: float = 0.3
    """Weights above 1 + clip_ratio_high are lowered to it."""

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
        """Return what `PolicyLoss.token_loss` specifies; clipped tokens keep their gradient."""
        ratio = log_ratio.detach().exp()
        weight = ratio.clamp(1 - self.clip_ratio_low, 1 + self.clip_ratio_high)
        return -advantages * logprobs * weight, weight != ratio, ratio
