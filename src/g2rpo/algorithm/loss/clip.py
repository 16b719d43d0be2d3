"""The clipped surrogate loss: PPO, clip-higher (DAPO) and dual clip in one formula.

    A >= 0    -A min(r, 1 + high)                     r = pi / pi_old of one token
    A <  0    -A min(max(r, 1 - low), c)

`clip_ratio_low == clip_ratio_high` is PPO (Schulman et al. 2017, 1707.06347, eq. 7). A larger
`clip_ratio_high` lets unlikely tokens gain probability (DAPO, 2503.14476, sec. 3.1). c =
`dual_clip` bounds the loss of a token with a negative advantage (Ye et al. 2020, 1912.09729).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from g2rpo.algorithm.loss.policy import PolicyLoss


@dataclass(kw_only=True)
class ClipLoss(PolicyLoss):
    """The clipped surrogate loss of token ratios."""

    clip_ratio_low: float = 0.2
    """The ratio is clipped at 1 minus this, in [0, 1)."""
    clip_ratio_high: float = 0.3
    """The ratio is clipped at 1 plus this, 0 or more."""
    dual_clip: float | None = 3.0
    """Upper bound of the ratio where the advantage is negative, above 1; None means no bound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clip_ratios(self.clip_ratio_low, self.clip_ratio_high)
        if self.dual_clip is not None and not 1 < self.dual_clip < float("inf"):
            raise ValueError(
                f"loss.dual_clip: expected null (off) or a ratio above 1, got {self.dual_clip}"
            )

    def token_loss(
        self,
        log_ratio: Float[Tensor, "b t"],
        logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b 1"],
        mask: Bool[Tensor, "b t"],
    ) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Return what `PolicyLoss.token_loss` specifies."""
        ratio = log_ratio.exp()
        losses, cut = clipped_surrogate(
            ratio, advantages, self.clip_ratio_low, self.clip_ratio_high, self.dual_clip
        )
        return losses, cut, ratio


def clipped_surrogate(
    ratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b 1"],
    low: float,
    high: float,
    dual_clip: float | None,
) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Return the loss of each token and whether clipping removed its gradient."""
    unclipped = -advantages * ratio
    losses = torch.maximum(unclipped, -advantages * ratio.clamp(1 - low, 1 + high))
    if dual_clip is not None:
        losses = torch.where(advantages < 0, torch.minimum(losses, -advantages * dual_clip), losses)
    return losses, losses != unclipped


def check_clip_ratios(low: float, high: float) -> None:
    """Check the clip bounds that several losses share."""
    if not (0 <= low < 1 and 0 <= high < float("inf")):
        raise ValueError(
            "loss: expected 0 <= clip_ratio_low < 1 and clip_ratio_high >= 0, got"
            f" clip_ratio_low={low}, clip_ratio_high={high}"
        )
