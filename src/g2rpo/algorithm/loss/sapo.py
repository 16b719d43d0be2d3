"""SAPO: a smooth gate instead of clipping (Gao et al. 2025, arXiv 2511.20347).

    -A (4 / tau) sigmoid(tau (r - 1)),   tau = tau_positive where A >= 0, tau_negative where A < 0

At r = 1 the slope is -A, as without a gate. Away from 1 the gradient decays, faster for a larger
tau, but never becomes exactly 0. The paper averages over the tokens of each completion, then
over completions, which is what `loss=sapo` selects.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo.algorithm.loss.policy import PolicyLoss


@dataclass(kw_only=True)
class SAPOLoss(PolicyLoss):
    """Token ratios with a sigmoid gate."""

    tau_positive: float = 1.0
    """Sharpness of the gate for advantages of 0 or more, above 0."""
    tau_negative: float = 1.05
    """Sharpness of the gate for negative advantages; larger, because they destabilize training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.tau_positive < float("inf") and 0 < self.tau_negative < float("inf")):
            got = f"tau_positive={self.tau_positive}, tau_negative={self.tau_negative}"
            raise ValueError(f"loss: expected tau_positive > 0 and tau_negative > 0, got {got}")

    def token_loss(
        self,
        log_ratio: Float[Tensor, "b t"],
        logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b 1"],
        mask: Bool[Tensor, "b t"],
    ) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Return what `PolicyLoss.token_loss` specifies; no token counts as clipped."""
        ratio = log_ratio.exp()
        tau = torch.where(advantages >= 0, self.tau_positive, self.tau_negative).to(ratio.dtype)
        losses = -advantages * 4 / tau * torch.sigmoid(tau * (ratio - 1))
        return losses, torch.zeros_like(ratio, dtype=torch.bool), ratio
