"""Proof that an engine with weights of its own writes what the trainer's policy would write.

After every sync the engine answers a few prompts of the last rollouts once more, and the trainer
computes the same tokens' log-probabilities. These prompts are the hard ones: the engine has seen
them, so whatever it should have forgotten of them (keys and values, vision features) would show.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from g2rpo.interfaces import Encoder
from g2rpo.policy.stats import token_stats
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.join import select_prompts

MAX_GAP = {torch.float32: 2e-4, torch.bfloat16: 0.5, torch.float16: 0.1}
"""Nats, by the dtype of the engine's weights. Two correct implementations stay below."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The token on which engine and trainer differ most; log-probabilities in nats."""

    prompt_id: str
    position: int
    engine: float
    trainer: float

    @property
    def nats(self) -> float:
        """Size of the difference."""
        return abs(self.engine - self.trainer)


class SyncProbe:
    """Compares engine and trainer.

    Args:
        sampling: Of training; the probe draws at its temperature.
        max_gap: Largest difference allowed, in nats.
        num_prompts: Prompts asked, those with images first.
        num_tokens: Tokens of each completion.
    """

    def __init__(
        self, *, sampling: Sampling, max_gap: float, num_prompts: int = 4, num_tokens: int = 8
    ) -> None:
        self.max_gap = max_gap
        self.num_prompts = num_prompts
        tokens = min(num_tokens, sampling.max_new_tokens)
        self.sampling = replace(sampling, group_size=1, max_new_tokens=tokens)
        self.batch: PromptBatch | None = None

    def remember(self, batch: PromptBatch) -> None:
        """Takes the prompts that the next comparison asks."""
        order = (batch.num_images == 0).int().argsort(stable=True)
        self.batch = select_prompts(batch, order[: self.num_prompts])

    @torch.no_grad()
    def gap(
        self,
        policy: Any,
        encoder: Encoder,
        generate: Callable[[PromptBatch, Sampling, int], Rollouts],
        seed: int,
    ) -> Gap:
        """The largest difference. `remember` comes first."""
        assert self.batch is not None
        rollouts = generate(self.batch, self.sampling, seed)
        trainer = token_stats(
            policy,
            self.batch,
            rollouts.completion_ids,
            rollouts.completion_mask,
            forbidden=tuple(encoder.forbidden_token_ids),
            temperature=self.sampling.temperature,
        ).logprobs
        # nan is the largest difference of all, and argmax takes it for that
        worst = int((rollouts.old_logprobs - trainer).abs().argmax())
        row, position = divmod(worst, trainer.shape[1])
        return Gap(
            prompt_id=self.batch.prompts[row].id,
            position=position,
            engine=rollouts.old_logprobs[row, position].item(),
            trainer=trainer[row, position].item(),
        )

    def check(self, gap: Gap, when: str) -> float:
        """The difference in nats; raises `RuntimeError` where it is too large, or no number."""
        if gap.nats <= self.max_gap:
            return gap.nats
        raise RuntimeError(
            f"rollout.max_sync_gap: {when}, engine and trainer give token {gap.position} of a"
            f" completion of prompt {gap.prompt_id!r} the log-probabilities {gap.engine:.5f} and"
            f" {gap.trainer:.5f}; they differ by {gap.nats:.2g} nats, allowed are {self.max_gap:g}."
            " The engine holds other weights than the trainer, remembers features of older ones,"
            " or computes in another dtype or logprobs mode."
        )
