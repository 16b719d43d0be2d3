"""What every policy loss shares: masking, the denominator, the KL term, and the correction for a
foreign sampler.

A loss differs from another in one method, `token_loss`. Its sum over tokens is divided by a number
of the *whole* batch:

    token      all tokens of the batch                       (DAPO, 2503.14476)
    seq        each completion's own tokens, then the number of completions       (GRPO, 2402.03300)
    constant   the number of completions times `max_tokens`  (Dr. GRPO, 2503.20783): a long completion is not favored

so that the losses of micro-batches, or ranks, *add up* to the loss of the batch, and so do their
gradients and stats. A caller who splits a batch passes `num_tokens` and `num_completions` of the
whole; without them, the call sees the whole batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from g2rpo.algorithm.loss.kl import ESTIMATORS, MAX_LOG_RATIO, KLEstimator

Aggregation = Literal["token_mean", "seq_mean", "constant"]
SHORT_FORMS: dict[str, Aggregation] = {"token": "token_mean", "seq": "seq_mean"}
"""Short names of aggregations, as the released code of G2RPO writes them."""
KLPlacement = Literal["loss", "reward"]
TISLevel = Literal["token", "sequence"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Denominators:
    """What sums over a micro-batch are divided by: counts of the whole batch. `max_tokens` only
    serves `constant`.
    """

    aggregation: Aggregation
    num_tokens: float | Tensor
    num_completions: float | Tensor
    max_tokens: int

    def mean(self, values: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Share of this micro-batch in the batch's mean over `values`, which are 0 where the mask
        is False.
        """
        if self.aggregation == "token_mean":
            return values.sum() / self.num_tokens
        if self.aggregation == "seq_mean":
            return (values.sum(1) / mask.sum(1).clamp(min=1)).sum() / self.num_completions
        return values.sum() / (self.num_completions * self.max_tokens)

    def token_mean(self, values: Float[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Share of this micro-batch in the batch's mean over tokens, whatever the aggregation of
        the loss.
        """
        return values.sum() / self.num_tokens


@dataclass(kw_only=True)
class PolicyLoss(ABC):
    """Options common to all losses; a subclass adds its own and says what one token costs."""

    aggregation: str = "token_mean"
    """Which mean is taken over tokens and completions: `token_mean`, `seq_mean` or `constant`, see
    the head of this file. `token` and `seq` are accepted as short forms."""
    max_tokens: int | None = None
    """`constant` only: tokens of the longest possible completion; None takes the width of the
    batch, if it is whole.
    """
    kl_coef: float = 0.0
    """Weight of the KL to the reference; 0 means that no reference is needed."""
    kl_estimator: KLEstimator = "k3"
    kl_placement: KLPlacement = "loss"
    """`reward`: whoever computes rewards subtracts `kl_coef` times `kl.completion_penalty`; the
    loss then only reports the KL.
    """
    tis_clip: float | None = None
    """Largest importance weight between trainer and sampler (2 is usual); None where the sampler is
    the trainer's own model.
    """
    tis_level: TISLevel = "token"
    """Whose importance weight: each token's own, or one of the whole completion, the product of its
    tokens' (truncated alike).
    """

    def __post_init__(self) -> None:
        self.aggregation = SHORT_FORMS.get(self.aggregation, self.aggregation)
        if self.aggregation not in get_args(Aggregation):
            raise ValueError(
                f"loss.aggregation: expected one of {', '.join(get_args(Aggregation))}, got"
                f" {self.aggregation!r}"
            )
        if self.kl_estimator not in ESTIMATORS:
            raise ValueError(
                f"loss.kl_estimator: expected one of {', '.join(ESTIMATORS)}, got"
                f" {self.kl_estimator!r}"
            )
        if self.kl_placement not in get_args(KLPlacement):
            raise ValueError(
                f"loss.kl_placement: expected one of {', '.join(get_args(KLPlacement))}, got"
                f" {self.kl_placement!r}"
            )
        if self.tis_level not in get_args(TISLevel):
            raise ValueError(
                f"loss.tis_level: expected one of {', '.join(get_args(TISLevel))}, got"
                f" {self.tis_level!r}"
            )
        if not 0 <= self.kl_coef < float("inf"):
            raise ValueError(f"loss.kl_coef: expected 0 (no KL) or more, got {self.kl_coef}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"loss.max_tokens: expected at least 1 token, got {self.max_tokens}")
        if self.tis_clip is not None and not 0 < self.tis_clip < float("inf"):
            raise ValueError(
                f"loss.tis_clip: expected null (off) or a positive weight, got {self.tis_clip}"
            )

    @abstractmethod
    def token_loss(
        self,
        log_ratio: Float[Tensor, "b t"],
        logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b 1"],
        mask: Bool[Tensor, "b t"],
    ) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Loss of each token, whether the clip cut it off, and its probability ratio. `log_ratio`
        is clamped, and 0 outside the mask.
        """

    def __call__(
        self,
        logprobs: Float[Tensor, "b t"],
        old_logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, " b"],
        mask: Shaped[Tensor, "b t"],
        *,
        ref_logprobs: Float[Tensor, "b t"] | None = None,
        sampler_logprobs: Float[Tensor, "b t"] | None = None,
        num_tokens: float | Tensor | None = None,
        num_completions: float | Tensor | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of a batch, or of a micro-batch as its share of the batch.

        Args:
            logprobs: of the policy in training, in nats; the only argument that gets a gradient.
            old_logprobs: of the same model when the completions were drawn.
            advantages: one per completion.
            mask: True or 1 on completion tokens; what stands elsewhere, even nan, has no influence.
            ref_logprobs: of the frozen reference; required where `kl_coef` is not 0 and the KL is
                part of the loss.
            sampler_logprobs: as the rollout engine reported them; required where `tis_clip` is set.
            num_tokens: mask tokens of the whole batch, where this call sees only a micro-batch.
            num_completions: completions of the whole batch, likewise.

        Returns:
            The scalar to minimize, and stats without gradient: `policy` (the loss without KL), `kl`
                (before its coefficient,
            aggregated like the loss; 0 without a reference), and as means over tokens `clip_frac`
            and `ratio_mean`. Each stat is already divided by the number of the whole batch: summed
            over micro-batches it is the batch's.
        """
        inside = mask.bool()
        denominators = self._denominators(inside, num_tokens, num_completions)
        logprobs, old_logprobs = (
            logprobs.where(inside, 0.0),
            old_logprobs.detach().where(inside, 0.0),
        )
        log_ratio = (logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        losses, cut, ratio = self.token_loss(
            log_ratio, logprobs, advantages.detach().unsqueeze(1), inside
        )
        if self.tis_clip is not None:
            losses = losses * self._sampler_weight(old_logprobs, sampler_logprobs, inside)
        policy = denominators.mean(losses.where(inside, 0.0), inside)
        kl = self._kl(logprobs, ref_logprobs, inside, denominators)
        stats = {
            "policy": policy.detach(),
            "kl": kl.detach(),
            "clip_frac": denominators.token_mean((cut & inside).to(policy.dtype)),
            "ratio_mean": denominators.token_mean(ratio.detach().where(inside, 0.0)),
        }
        return (policy + self.kl_coef * kl if self._kl_in_loss else policy), stats

    @property
    def _kl_in_loss(self) -> bool:
        return self.kl_coef > 0 and self.kl_placement == "loss"

    def _denominators(
        self,
        mask: Bool[Tensor, "b t"],
        num_tokens: float | Tensor | None,
        num_completions: float | Tensor | None,
    ) -> Denominators:
        if (
            self.aggregation == "constant"
            and self.max_tokens is None
            and num_completions is not None
        ):
            raise ValueError(
                "loss.max_tokens: needed by aggregation=constant over micro-batches; try the value"
                " of rollout.max_new_tokens"
            )
        return Denominators(
            aggregation=self.aggregation,
            num_tokens=mask.sum().clamp(min=1) if num_tokens is None else num_tokens,
            num_completions=mask.shape[0] if num_completions is None else num_completions,
            max_tokens=mask.shape[1] if self.max_tokens is None else self.max_tokens,
        )

    def _kl(
        self,
        logprobs: Float[Tensor, "b t"],
        ref_logprobs: Float[Tensor, "b t"] | None,
        mask: Bool[Tensor, "b t"],
        denominators: Denominators,
    ) -> Float[Tensor, ""]:
        """Divergence from the reference, aggregated like the loss; `logprobs` are 0 outside the
        mask, and so is the reference here.
        """
        if ref_logprobs is None:
            if self._kl_in_loss:
                raise ValueError(
                    f"loss.kl_coef={self.kl_coef} needs ref_logprobs; pass them, or set"
                    " loss.kl_coef=0"
                )
            return logprobs.new_zeros(())
        return denominators.mean(
            ESTIMATORS[self.kl_estimator](logprobs, ref_logprobs.detach().where(mask, 0.0)), mask
        )

    def _sampler_weight(
        self,
        old_logprobs: Float[Tensor, "b t"],
        sampler_logprobs: Float[Tensor, "b t"] | None,
        mask: Bool[Tensor, "b t"],
    ) -> Float[Tensor, "b t"]:
        """Truncated importance weight min(trainer / sampler, C) of each token or its completion,
        without gradient.
        """
        if sampler_logprobs is None:
            raise ValueError(
                f"loss.tis_clip={self.tis_clip} needs sampler_logprobs; pass them, or set"
                " loss.tis_clip=null"
            )
        gap = old_logprobs - sampler_logprobs.detach().where(mask, 0.0)
        if self.tis_level == "sequence":
            gap = gap.sum(1, keepdim=True).expand_as(gap)
        return gap.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().clamp(max=self.tis_clip)
