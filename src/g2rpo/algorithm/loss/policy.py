"""The base class of all policy losses: masking, aggregation, KL term, and importance weights.

A subclass defines one method, `token_loss`. `aggregation` selects the divisor of its sum:

    token_mean   number of tokens in the batch                                (DAPO, 2503.14476)
    seq_mean     tokens of each completion, then the number of completions    (GRPO, 2402.03300)
    constant     number of completions times `max_tokens`                     (Dr. GRPO, 2503.20783)

These are counts of the *whole* batch. The losses, gradients and stats of micro-batches and ranks
therefore *add up* to those of the batch. A caller that splits a batch passes `num_tokens` and
`num_completions` of the whole batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from g2rpo.algorithm.loss.importance import Rejection, TISLevel, log_weights, truncated_weights
from g2rpo.algorithm.loss.kl import ESTIMATORS, MAX_LOG_RATIO, KLEstimator

Aggregation = Literal["token_mean", "seq_mean", "constant"]
SHORT_FORMS: dict[str, Aggregation] = {"token": "token_mean", "seq": "seq_mean"}
"""Short names of aggregations, as in the released code of G2RPO."""
KLPlacement = Literal["loss", "reward"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Denominators:
    """Divisors for sums over a micro-batch: counts of the whole batch.

    `max_tokens` is used by `aggregation=constant` only.
    """

    aggregation: Aggregation
    num_tokens: float | Tensor
    num_completions: float | Tensor
    max_tokens: int

    def mean(self, values: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Return this micro-batch's share of the batch mean; `values` are 0 outside the mask."""
        if self.aggregation == "token_mean":
            return values.sum() / self.num_tokens
        if self.aggregation == "seq_mean":
            return (values.sum(1) / mask.sum(1).clamp(min=1)).sum() / self.num_completions
        return values.sum() / (self.num_completions * self.max_tokens)

    def token_mean(self, values: Float[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Return this micro-batch's share of the batch's mean over tokens, for any aggregation."""
        return values.sum() / self.num_tokens


@dataclass(kw_only=True)
class PolicyLoss(ABC):
    """Options common to all losses; a subclass adds its own options and defines `token_loss`."""

    aggregation: str = "token_mean"
    """`token_mean`, `seq_mean` or `constant`, see the head of this file; short: `token`, `seq`."""
    max_tokens: int | None = None
    """Maximum completion length in tokens, for `constant`; None uses the width of the batch."""
    kl_coef: float = 0.0
    """Weight of the KL to the reference model; 0 needs no reference model."""
    kl_estimator: KLEstimator = "k3"
    kl_placement: KLPlacement = "loss"
    """`loss` adds the KL term here. With `reward`, the trainer subtracts `kl_coef` times
    `kl.completion_penalty` from the reward, and the loss only reports the KL.
    """
    tis_clip: float | None = None
    """Upper bound of the importance weight trainer / sampler, usually 2; None disables it."""
    tis_level: TISLevel = "token"
    """Importance weight per `token`, per `sequence` (the product over its tokens), or
    `both`: the token's times that of the rest of its completion; each factor is at most `tis_clip`.
    """
    rejection: Rejection = field(default_factory=Rejection)
    """Which tokens and samples are not learned from; their KL term stays."""

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
        if self.tis_clip is None and self.tis_level != "token":
            raise ValueError(
                f"loss.tis_level: expected its default with loss.tis_clip=null, which is off, got"
                f" {self.tis_level!r}; loss.tis_clip=2 is usual"
            )

    @abstractmethod
    def token_loss(
        self,
        log_ratio: Float[Tensor, "b t"],
        logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b 1"],
        mask: Bool[Tensor, "b t"],
    ) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Return the loss of each token, whether it was clipped, and its probability ratio.

        Args:
            log_ratio: Log-ratio of the policy to the old policy, clamped; 0 outside the mask.
            logprobs: Log-probabilities of the policy, in nats; 0 outside the mask.
            advantages: One advantage per completion.
            mask: True on completion tokens.
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
        """Return the loss of a batch, or a micro-batch's share of it, and its stats.

        Args:
            logprobs: Log-probabilities of the policy, in nats; the only argument with a gradient.
            old_logprobs: Log-probabilities of the policy that sampled the completions, in nats.
            advantages: One advantage per completion.
            mask: True or 1 on completion tokens; values elsewhere, even NaN, have no influence.
            ref_logprobs: Log-probabilities of the frozen reference model, in nats; required if
                `kl_coef` is above 0 and the KL is part of the loss.
            sampler_logprobs: Log-probabilities that the rollout engine reported, in nats; required
                if `tis_clip` or `rejection.bounds` is set.
            num_tokens: Mask tokens of the whole batch, if this is a micro-batch.
            num_completions: Completions of the whole batch, if this is a micro-batch.

        Returns:
            The scalar to minimize, and stats without gradient: `policy` (the loss without KL), `kl`
            (before its coefficient, aggregated like the loss; 0 without a reference), and the means
            over tokens `clip_frac` and `ratio_mean`. Each stat is divided by counts of the whole
            batch, so its sum over micro-batches is the value of the batch.
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
        if self.corrects_sampler:
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
    def corrects_sampler(self) -> bool:
        """Whether the loss compares the policy before the update with the sampler."""
        return self.tis_clip is not None or self.rejection.bounds is not None

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
                "loss.max_tokens: expected a number of tokens, because aggregation=constant over"
                " micro-batches needs one, got null; set it to rollout.max_new_tokens"
            )
        return Denominators(
            aggregation=cast(Aggregation, self.aggregation),
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
        """Return the KL to the reference, aggregated like the loss; 0 without a reference."""
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
        """Return the weight of each token for its sampler, without gradient; 0 if rejected."""
        if sampler_logprobs is None:
            key = "tis_clip" if self.tis_clip is not None else "rejection.bounds"
            value = self.tis_clip if self.tis_clip is not None else self.rejection.bounds
            raise ValueError(
                f"loss.{key}={value} needs sampler_logprobs; pass them, or set loss.{key}=null"
            )
        gap = log_weights(old_logprobs, sampler_logprobs, mask)
        if self.tis_clip is None:
            weights = torch.ones_like(gap)
        else:
            weights = truncated_weights(gap, self.tis_level, self.tis_clip)
        if self.rejection.bounds is None:
            return weights
        return weights.where(self.rejection.accepted(gap, mask), 0.0)
