"""One optimiser update: forward and backward over the micro-batches of a minibatch, with denominators of the whole minibatch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.interfaces import Loss
from g2rpo.model.stats import TokenStats, token_stats
from g2rpo.records import TASKS, Experience
from g2rpo.rollout.join import group_rows, select_prompts
from g2rpo.shaping.entropy import EntropyBand, task_sums


@dataclass(kw_only=True)
class UpdateStats:
    """Numbers of one minibatch, each already divided by the minibatch's own denominator."""

    loss: dict[str, float]
    entropy_sum: Float[Tensor, " k"]
    """Token entropies in nats added up per task, in the order of `TASKS`."""
    tokens: Float[Tensor, " k"]
    logprob_gap: float
    """Largest |trainer - sampler| log-probability of a token, in nats."""


def select_experience(experience: Experience, rows: Sequence[int]) -> Experience:
    """The groups of some prompts."""
    index = torch.tensor(list(rows), device=experience.advantages.device)
    mine = group_rows(index, experience.advantages.shape[0] // len(experience.batch.prompts))
    rollouts = experience.rollouts
    picked = replace(
        rollouts,
        completion_ids=rollouts.completion_ids[mine],
        completion_mask=rollouts.completion_mask[mine],
        old_logprobs=rollouts.old_logprobs[mine],
        prompt=torch.arange(len(index), device=mine.device).repeat_interleave(len(mine) // len(index)),
        finished=rollouts.finished[mine],
        texts=tuple(rollouts.texts[row] for row in mine.tolist()),
    )
    scores = replace(
        experience.scores, total=experience.scores.total[mine], parts={name: part[mine] for name, part in experience.scores.parts.items()}
    )
    return Experience(
        batch=select_prompts(experience.batch, index),
        rollouts=picked,
        task=experience.task[mine],
        scores=scores,
        rewards=experience.rewards[mine],
        advantages=experience.advantages[mine],
        ref_logprobs=None if experience.ref_logprobs is None else experience.ref_logprobs[mine],
    )


class Updater:
    """Computes the gradient of one minibatch, however many micro-batches it is cut into.

    Args:
        loss: The policy loss.
        entropy: The entropy band, or None.
        forbidden: Token ids that sampling excluded.
        temperature: Of sampling.
    """

    def __init__(self, *, loss: Loss, entropy: EntropyBand | None, forbidden: tuple[int, ...], temperature: float) -> None:
        self.loss = loss
        self.entropy = entropy
        self.forbidden = forbidden
        self.temperature = temperature

    def stats(self, policy: Any, part: Experience) -> TokenStats:
        """Log-probabilities and entropies of a piece's completions under `policy`."""
        rollouts = part.rollouts
        return token_stats(
            policy, part.batch, rollouts.completion_ids, rollouts.completion_mask, forbidden=self.forbidden, temperature=self.temperature
        )

    def backward(self, policy: Any, parts: Sequence[Experience], backward: Any) -> UpdateStats:
        """Accumulates the gradient of a minibatch given as micro-batches.

        `backward` is called on each micro-batch's scalar; the scalars add up to the minibatch's loss. Raises `FloatingPointError`
        naming the tasks of a micro-batch whose loss is not finite; no gradient of it has been accumulated then.
        """
        masks = [part.rollouts.completion_mask for part in parts]
        num_tokens, num_completions = float(sum(mask.sum() for mask in masks)), float(sum(len(mask) for mask in masks))
        ahead = [self.stats(policy, parts[0])] if len(parts) == 1 else None
        signs, tokens, penalty = self._band(policy, parts, ahead)
        totals: dict[str, float] = {"entropy_band": penalty}
        entropy_sum, gap = torch.zeros(len(TASKS)), 0.0
        for i, part in enumerate(parts):
            stats = ahead[i] if ahead else self.stats(policy, part)
            mask = part.rollouts.completion_mask
            value, numbers = self.loss(
                stats.logprobs, part.rollouts.old_logprobs, part.advantages, mask,
                ref_logprobs=part.ref_logprobs, num_tokens=num_tokens, num_completions=num_completions,
            )  # fmt: skip
            if self.entropy is not None:
                value = value + self.entropy.loss(self.entropy.token_entropy(stats.entropy, stats.logprobs), mask, part.task, signs, tokens)
            if not torch.isfinite(value):
                raise FloatingPointError(f"loss became {value.item()} (tasks {_tasks(part)})")
            backward(value)
            for name, number in numbers.items():
                totals[name] = totals.get(name, 0.0) + number.item()
            entropy_sum += task_sums(stats.entropy.detach(), mask, part.task)[0].cpu()
            gap = max(gap, (stats.logprobs.detach() - part.rollouts.old_logprobs).abs().max().item())
        return UpdateStats(loss=totals, entropy_sum=entropy_sum, tokens=tokens.cpu(), logprob_gap=gap)

    def _band(
        self, policy: Any, parts: Sequence[Experience], ahead: list[TokenStats] | None
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], float]:
        """Direction of each task's push, its tokens, and the penalty: from the whole minibatch, before any gradient."""
        sums, tokens = None, None
        for i, part in enumerate(parts):
            if ahead or self.entropy is None:
                stats = ahead[i] if ahead else None
            else:
                with torch.no_grad():
                    stats = self.stats(policy, part)
            values = torch.zeros_like(part.rollouts.old_logprobs)
            if stats is not None and self.entropy is not None:
                values = self.entropy.token_entropy(stats.entropy, stats.logprobs).detach()
            part_sums, part_tokens = task_sums(values, part.rollouts.completion_mask, part.task)
            sums, tokens = (part_sums, part_tokens) if sums is None else (sums + part_sums, tokens + part_tokens)
        assert sums is not None
        assert tokens is not None
        if self.entropy is None:
            return torch.zeros_like(sums), tokens, 0.0
        signs, penalty = self.entropy.signs(sums, tokens)
        return signs, tokens, penalty.item()


def clip_gradients(policy: Any, max_norm: float, parts: Sequence[Experience]) -> float:
    """Scales the gradient down to `max_norm` and returns its norm before. Raises `FloatingPointError` where that is not finite."""
    norm: float = torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm).item()
    if not math.isfinite(norm):
        raise FloatingPointError(f"gradient norm became {norm} (tasks {_tasks(*parts)})")
    return norm


def _tasks(*parts: Experience) -> str:
    return ", ".join(sorted({prompt.task for part in parts for prompt in part.batch.prompts}))
