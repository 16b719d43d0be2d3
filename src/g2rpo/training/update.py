"""The gradient of one optimizer update, accumulated over micro-batches.

Losses are divided by the token and completion counts of the whole minibatch of all ranks, so the
gradient does not depend on micro-batches or on the number of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.launch import marks
from g2rpo.per_task import task_sums
from g2rpo.policy.forward import is_sharded, one_forward
from g2rpo.policy.stats import TokenStats, token_stats
from g2rpo.records import Experience
from g2rpo.stopwatch import timed
from g2rpo.tasks import listed
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import Row, filler, padded, select_rows
from g2rpo.training.gradients import add_gradients
from g2rpo.training.task_gradients import TaskGradients

LOSS_STATS = ("policy", "kl", "clip_frac", "ratio_mean")
"""What every loss reports. The values are divided by the denominators of the whole minibatch, so
those of micro-batches and ranks add up.
"""


@dataclass(kw_only=True)
class UpdateStats:
    """Numbers of one minibatch of all ranks."""

    loss: dict[str, float]
    """Loss terms and clip statistics by name, divided by the denominator of the minibatch."""
    entropy_sum: Float[Tensor, " k"]
    """Sum of token entropies in nats by task, in the order of the run."""
    tokens: Float[Tensor, " k"]
    """Number of completion tokens by task."""
    entropy_weight: Float[Tensor, " k"] | None
    """Signed weight of the entropy term by task, in loss per nat; None without a band."""
    logprob_gap: float
    """Largest |trainer - sampler| difference of a token's log-probability, in nats."""
    task_weights: dict[int, float] = field(default_factory=dict)
    """Weight of each task's gradient in the update, if each has its own."""


class Updater:
    """Computes the gradient of one minibatch from its micro-batches.

    Args:
        algorithm: Its loss, entropy band, micro-batch sizes, `gradient` and `prefix` are used.
        forbidden: Token ids that sampling excluded.
        temperature: Sampling temperature; log-probabilities are taken at the same one.
    """

    def __init__(
        self, algorithm: Algorithm, *, forbidden: tuple[int, ...], temperature: float
    ) -> None:
        self.loss = algorithm.loss
        self.gradient = algorithm.gradient
        self.entropy: EntropyBand | None = getattr(algorithm.shaping, "entropy", None)
        self.batch = algorithm.batch
        self.num_tasks = len(algorithm.tasks)
        self.forbidden = forbidden
        self.temperature = temperature
        self.prefix = algorithm.prefix

    def stats(self, policy: Any, part: Experience | None) -> TokenStats:
        """Compute log-probabilities and entropies of the completions under `policy`.

        None makes a pass over two tokens; see `batch_plan.padded`.

        Raises:
            RuntimeError: with rank and tasks, if the pass fails.
        """
        (ranks.stop_together if is_sharded(policy) else marks.drop_if_asked)()
        marks.work_on(sorted({prompt.task for prompt in part.batch.prompts} if part else []))
        if part is None:
            batch, ids, mask = filler(policy, self.forbidden)
        else:
            batch, ids = part.batch, part.rollouts.completion_ids
            mask = part.rollouts.completion_mask
        try:
            return one_forward(
                policy,
                token_stats,
                batch,
                ids,
                mask,
                forbidden=self.forbidden,
                temperature=self.temperature,
                prefix=self.prefix,
            )
        except RuntimeError as error:  # such as out of memory
            if part is None:
                raise
            raise RuntimeError(f"{_place(part)}: {error}") from error

    def micro_batches(self, experience: Experience, rows: Sequence[int]) -> list[Experience]:
        """Cut the groups of some prompts into the micro-batches of one forward pass each.

        If each task needs its own gradient, each has its own micro-batches, one task after another.
        """
        owners = [prompt.task for prompt in experience.batch.prompts]
        tasks = sorted({owners[row] for row in rows}) if self.gradient.by_task else [None]
        return [
            select_rows(experience, piece)
            for task in tasks
            for piece in self._cut(experience, [r for r in rows if task in (None, owners[r])])
        ]

    @ranks.dropping_together()
    @torch.no_grad()
    def logprobs(self, model: Any, whole: Experience) -> Float[Tensor, "b t"]:
        """Compute log-probabilities in nats of all completions under `model`, without gradients."""
        out = torch.zeros_like(whole.rollouts.old_logprobs)
        for rows in padded(model, self._cut(whole, range(len(whole.batch.prompts)))):
            stats = self.stats(model, None if rows is None else select_rows(whole, rows))
            if rows is not None:
                out[[one for row in rows for one in row.completions]] = stats.logprobs
        return out

    def _cut(self, experience: Experience, prompts: Sequence[int]) -> list[list[Row]]:
        """Return the rows of each forward pass; in one pass all have equally many completions."""
        own: dict[int, list[int]] = {prompt: [] for prompt in prompts}
        for completion, prompt in enumerate(experience.rollouts.prompt.tolist()):
            if prompt in own:
                own[prompt].append(completion)
        prompt_tokens = experience.batch.attention_mask.sum(1).tolist()
        lengths = experience.rollouts.completion_mask.sum(1).tolist()

        def tokens(row: Row) -> int:
            return prompt_tokens[row.prompt] + sum(lengths[one] for one in row.completions)

        rows = [
            Row(prompt, part)
            for prompt, group in own.items()
            for part in self.batch.split(group, tokens(Row(prompt, group)))
        ]
        sizes = [len(row.completions) for row in rows]
        alike = [[i for i, n in enumerate(sizes) if n == size] for size in sorted(set(sizes))]
        costs = [tokens(row) for row in rows]
        return [
            [rows[i] for i in piece]
            for group in alike
            for piece in self.batch.microbatches(group, costs)
        ]

    @timed("forward")
    def backward(
        self, policy: Any, parts: Sequence[Experience], backward: Any, seed: int = 0
    ) -> UpdateStats:
        """Accumulate the gradient of a minibatch and sum it over ranks.

        Args:
            parts: Micro-batches of this rank; there may be none.
            backward: Called with the loss of each micro-batch; the losses of all ranks add up.
            seed: Seed of what `gradient` draws at random.

        Raises:
            FloatingPointError: on every rank, with the prompts whose loss is not finite.
        """
        num_tokens, num_completions, num_images = _counts(parts)
        passes = padded(policy, parts)
        with ranks.dropping_together():
            ahead = [self.stats(policy, passes[0])] if len(passes) == 1 else None
        weights, tokens, penalty = self._band(policy, passes, ahead)
        numbers, sums, gaps, broken = [], [], [0.0], []
        tasks = TaskGradients(policy, self.gradient) if self.gradient.by_task else None
        with ranks.dropping_together():
            for i, part in enumerate(passes):
                stats = ahead[i] if ahead else self.stats(policy, part)
                if part is None:
                    backward(0.0 * stats.logprobs.sum())
                    continue
                value, found = self._policy_loss(part, stats, num_tokens, num_completions)
                mask, sampled = part.rollouts.completion_mask, part.rollouts.old_logprobs
                if self.entropy is not None:
                    entropy = self.entropy.token_entropy(stats.entropy, stats.logprobs)
                    value = value + self.entropy.loss(
                        entropy, mask, part.task, weights.to(entropy), tokens.to(entropy)
                    )
                if not torch.isfinite(value):
                    # go on, because sharded weights need the passes of all ranks
                    broken.append(f"loss became {value.item()} ({_place(part)})")
                if tasks is not None:
                    tasks.begin(int(part.task[0]))
                with timed("backward"):
                    backward(value)
                numbers.append([found[name].item() for name in LOSS_STATS])
                entropies, _ = task_sums(stats.entropy.detach(), mask, part.task, self.num_tasks)
                sums.append(entropies.tolist())
                gaps.append((stats.logprobs.detach() - sampled).abs().max().item())
        if broken := ranks.all_gather_list(broken):
            policy.zero_grad(set_to_none=True)
            raise FloatingPointError(broken[0])
        if tasks is None:
            add_gradients(policy, num_images)
        totals = ranks.all_reduce_sum(_sum_float64(numbers, len(LOSS_STATS))).tolist()
        loss = dict(zip(LOSS_STATS, totals, strict=True))
        kl = self.loss.kl_coef * loss["kl"] if self.loss.kl_placement == "loss" else 0.0
        return UpdateStats(
            loss=loss | {"entropy_band": penalty, "total": loss["policy"] + kl + penalty},
            entropy_sum=ranks.all_reduce_sum(_sum_float64(sums, self.num_tasks)),
            tokens=tokens,
            entropy_weight=None if self.entropy is None else weights,
            logprob_gap=ranks.all_reduce_max(torch.tensor(max(gaps))).item(),
            task_weights={} if tasks is None else tasks.combine(num_images, seed),
        )

    def _policy_loss(
        self, part: Experience, stats: TokenStats, num_tokens: float, num_completions: float
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        sampled = part.rollouts.old_logprobs
        return self.loss(
            stats.logprobs,
            sampled if part.trainer_logprobs is None else part.trainer_logprobs,
            part.advantages,
            part.rollouts.completion_mask,
            ref_logprobs=part.ref_logprobs,
            sampler_logprobs=sampled,
            num_tokens=num_tokens,
            num_completions=num_completions,
        )

    def _band(
        self, policy: Any, passes: Sequence[Experience | None], ahead: list[TokenStats] | None
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], float]:
        """Return the weight of the entropy term and the tokens by task, and the penalty.

        They depend on the whole minibatch, so they are computed before any gradient.
        """
        sums, tokens = [], []
        with ranks.dropping_together():
            for i, part in enumerate(passes):
                if self.entropy is not None:
                    with torch.no_grad():
                        stats = ahead[i] if ahead else self.stats(policy, part)
                    values = self.entropy.token_entropy(stats.entropy, stats.logprobs).detach()
                elif part is not None:
                    values = torch.zeros_like(part.rollouts.old_logprobs)
                if part is None:
                    continue
                part_sums, part_tokens = task_sums(
                    values, part.rollouts.completion_mask, part.task, self.num_tasks
                )
                sums.append(part_sums.tolist())
                tokens.append(part_tokens.tolist())
        all_sums, all_tokens = ranks.all_reduce_sum(
            torch.stack([_sum_float64(sums, self.num_tasks), _sum_float64(tokens, self.num_tasks)])
        )
        if self.entropy is None:
            return torch.zeros_like(all_sums), all_tokens, 0.0
        weights, penalty = self.entropy.weights(all_sums, all_tokens)
        return weights, all_tokens, penalty.item()


def _place(part: Experience) -> str:
    """Return the rank, if there are several, and the prompts of a micro-batch."""
    rank = f"rank {ranks.rank()}, " if ranks.world_size() > 1 else ""
    return rank + listed(prompts_of([part]))


def _counts(parts: Sequence[Experience]) -> list[float]:
    """Return the number of completion tokens, of completions and of images of all ranks."""
    counts = []
    for part in parts:
        tokens, images = part.rollouts.completion_mask.sum(), part.batch.num_images.sum()
        counts.append([tokens.item(), float(len(part.task)), images.item()])
    found: list[float] = ranks.all_reduce_sum(_sum_float64(counts, 3)).tolist()
    return found


def _sum_float64(rows: Sequence[Sequence[float]], width: int) -> Float[Tensor, " w"]:
    """Return the sum of the rows in float64, zeros if there are none."""
    return torch.tensor(list(rows), dtype=torch.float64).reshape(-1, width).sum(0)


def prompts_of(parts: Sequence[Experience]) -> list[str]:
    """Return task and id of each prompt in some micro-batches, for messages."""
    return [f"{prompt.task} {prompt.id!r}" for part in parts for prompt in part.batch.prompts]
