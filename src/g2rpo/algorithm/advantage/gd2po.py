"""GD2PO: GDPO without completions whose reward parts disagree (Liu et al. 2026, arXiv 2606.16771).

    1. A_part = (R_part - mean_group) / (std_group + 1e-6), as in GDPO;
    2. SNR    = |sum over parts A_part| / (sum over parts |A_part| + 1e-8)
    3. kept   = all A_part have one sign, or SNR >= threshold
    4. S      = (kept share of the group) (sum over parts A_part), then whitened over what is kept

Advantages of opposite sign cancel in the sum of GDPO. Completions in which they (nearly) do so get
0 here, and a prompt with many of them counts less. Steps and order are those of the released code,
which scales before it whitens. SNR is below 1 if two parts disagree, so `threshold=1` is the
paper's hard filter; `threshold=0` is GDPO. Constants of the whitening are those of `gdpo.py`.
"""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.advantage.gdpo import whitened
from g2rpo.algorithm.advantage.group_statistics import Segments
from g2rpo.algorithm.advantage.grpo import standardized
from g2rpo.algorithm.advantage.reward_parts import over_parts

EPS = 1e-8
"""Added to the sum of sizes; an A_part within it has no sign."""


class GD2PO:
    """GDPO that leaves out completions with conflicting parts.

    Args:
        threshold: Smallest SNR in [0, 1] with which a completion with parts of both signs is kept.
    """

    parts_only: ClassVar[bool] = True
    """`rewards` is ignored, so a KL penalty subtracted from it has no effect."""

    def __init__(self, *, threshold: float = 0.8) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"advantage.threshold: expected a number in [0, 1], got {threshold}")
        self.threshold = threshold

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion from `parts`, `groups` and `completion_tokens`."""
        each = over_parts(parts, groups, lambda values, own: standardized(values, Segments(own)))
        summed = each.sum(0)
        conflict = (each > EPS).any(0) & (each < -EPS).any(0)
        snr = summed.abs() / (each.abs().sum(0) + EPS)
        kept = (~(conflict & (snr < self.threshold))).double()
        tokens = kept if completion_tokens is None else kept * completion_tokens.double()
        scaled = summed * Segments(groups).mean(kept)
        return (kept * whitened(scaled, tokens)).to(rewards.dtype)
