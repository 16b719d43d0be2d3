"""The sync probe verifies that an engine holds the trainer's weights.

After every weight sync the engine answers a few prompts of the last rollouts again, and the trainer
computes log-probabilities of the same tokens. The engine has seen these prompts before, so a stale
cache (keys and values, vision features) would show.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from g2rpo.interfaces import Encoder
from g2rpo.policy.forward import one_forward
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.groups import select_prompts

MAX_GAP = {torch.float32: 2e-4, torch.bfloat16: 0.5, torch.float16: 0.1}
"""Accepted difference in nats by the dtype of the weights; correct implementations stay below."""
BLANK = Prompt(
    id="sync_probe", task="math", text="1 + 1 = ?", images=[], answer="2", answer_type="numerical"
)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The token on which engine and trainer differ most, with both log-probabilities in nats."""

    prompt_id: str
    position: int
    engine: float
    trainer: float

    @property
    def nats(self) -> float:
        """Absolute difference in nats."""
        return abs(self.engine - self.trainer)


class SyncProbe:
    """Compares log-probabilities of engine and trainer.

    Args:
        sampling: Sampling of training; the probe uses its temperature.
        max_gap: Maximum accepted difference in nats.
        num_prompts: Number of prompts; those with images come first.
        num_tokens: Maximum number of tokens per completion.
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
        """Store prompts of a batch for the next comparison."""
        order = (batch.num_images == 0).int().argsort(stable=True)
        self.batch = select_prompts(batch, order[: self.num_prompts])

    def ask(
        self,
        encoder: Encoder,
        generate: Callable[[PromptBatch, Sampling, int], Rollouts],
        device: torch.device,
    ) -> tuple[PromptBatch, Rollouts]:
        """Let the engine answer the prompts of the last `remember`, or a fixed one without images.

        Args:
            encoder: The policy's encoder.
            generate: Generates completions with the engine, from a batch, sampling and seed.
            device: Device of the policy.
        """
        batch = self.batch
        if batch is None:  # this rank had no prompts yet, but takes part in the pass of all ranks
            batch = encoder.encode([BLANK]).to(device)
        return batch, generate(batch, self.sampling, 0)

    @torch.no_grad()
    def gap(self, policy: Any, encoder: Encoder, batch: PromptBatch, rollouts: Rollouts) -> Gap:
        """Return the largest difference on what `ask` returned.

        If the policy is sharded, all ranks must call this together.

        Args:
            policy: The trainer's policy.
            encoder: Its encoder.
            batch: Prompts that the engine answered.
            rollouts: Its answers.
        """
        trainer = one_forward(
            policy,
            token_stats,
            batch,
            rollouts.completion_ids,
            rollouts.completion_mask,
            forbidden=tuple(encoder.forbidden_token_ids),
            temperature=self.sampling.temperature,
        ).logprobs
        # argmax treats NaN as the maximum, so NaNs are reported.
        worst = int((rollouts.old_logprobs - trainer).abs().argmax())
        row, position = divmod(worst, trainer.shape[1])
        return Gap(
            prompt_id=batch.prompts[row].id,
            position=position,
            engine=rollouts.old_logprobs[row, position].item(),
            trainer=trainer[row, position].item(),
        )

    def check(self, gap: Gap, when: str) -> float:
        """Return the difference in nats; raise `RuntimeError` if it is too large or NaN."""
        if gap.nats <= self.max_gap:
            return gap.nats
        raise RuntimeError(
            f"rollout.max_sync_gap: {when}, engine and trainer give token {gap.position} of a"
            f" completion of prompt {gap.prompt_id!r} the log-probabilities {gap.engine:.5f} and"
            f" {gap.trainer:.5f}; they differ by {gap.nats:.2g} nats, allowed are {self.max_gap:g}."
            " The engine holds other weights than the trainer, caches features of older weights,"
            " or uses another dtype or logprobs mode."
        )
