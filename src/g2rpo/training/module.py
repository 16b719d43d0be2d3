"""G2RPO as a LightningModule. `training_step` is the whole algorithm on one screen; everything it calls is a plug-in or pure.

    prompts -> completions -> scores -> (length part) -> advantages -> loss (surrogate + KL + entropy band) -> update -> weight sync

Optimisation is manual, because one rollout batch may take several updates; so clipping, accumulation and the number of
minibatches are arguments here and never of the Trainer.
"""

import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.advantage.diagnostics import advantage_metrics
from g2rpo.interfaces import Advantage, Encoder, Loss, Reward, RolloutEngine
from g2rpo.records import Experience, PromptBatch
from g2rpo.rollout.collect import Collected, GroupFilter, collect
from g2rpo.shaping import Shaping
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.step_metrics import StepTimes, step_metrics
from g2rpo.training.update import Updater, UpdateStats, clip_gradients, select_experience

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


class G2RPOModule(L.LightningModule):
    """Wraps policy and reference with the G2RPO objective.

    Args:
        policy: The model in training.
        reference: A frozen copy, or None where `loss.kl_coef` is 0.
        encoder: Of the same checkpoint.
        engine: Writes completions; started on the policy here.
        reward: Judges them.
        advantage: Turns a rollout batch's rewards into advantages.
        loss: Policy loss with its KL term.
        shaping: Length and entropy bands.
        batch: Sizes and cuts.
        optimizer: Makes the optimiser from the trainable parameters.
        group_filter: Which groups are learnt from; the others are replaced.
        max_grad_norm: Gradients are scaled down to this norm.
        failure_budget: Share of completions whose reward may fail before the run stops.
        seed: Of sampling and of the cut into minibatches; with the step's number it fixes every random choice.
    """

    def __init__(
        self, *, policy: Any, reference: Any | None, encoder: Encoder, engine: RolloutEngine, reward: Reward, advantage: Advantage,
        loss: Loss, shaping: Shaping, batch: BatchPlan, optimizer: OptimizerFactory, group_filter: GroupFilter,
        max_grad_norm: float, failure_budget: float, seed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.policy = policy
        self._reference = (reference,)  # in a tuple, so that frozen weights are neither trained nor written to checkpoints
        self.encoder, self.engine, self.reward, self.advantage = encoder, engine, reward, advantage
        self.shaping, self.batch, self.optimizer_factory, self.group_filter = shaping, batch, optimizer, group_filter
        self.max_grad_norm, self.failure_budget, self.seed = max_grad_norm, failure_budget, seed
        self.sampling = engine.sampling.with_group_size(batch.group_size)
        self.updater = Updater(
            loss=loss, entropy=shaping.entropy, forbidden=tuple(encoder.forbidden_token_ids), temperature=engine.sampling.temperature
        )
        self.steps_done = 0
        self.last_experience: Experience | None = None
        self.last_metrics: dict[str, float] = {}
        engine.start(policy, encoder)

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """One rollout batch: drawn, judged, learnt from."""
        times = StepTimes(start=time.perf_counter())
        collected = self.collect(batch)
        times.rolled_out = time.perf_counter()
        experience, length_part = self.experience(collected)

        rng = Random(f"{self.seed}/{self.steps_done}")  # noqa: S311
        updates = []
        for rows in self.batch.minibatches(len(experience.batch.prompts), rng):
            parts = [select_experience(experience, piece) for piece in self.batch.microbatches(rows)]
            updates.append(self.update(parts))

        self.steps_done += 1
        self.engine.load_weights(self.policy, self.steps_done)
        times.updated = time.perf_counter()
        self.last_experience = experience
        self.record(step_metrics(collected, experience, length_part, updates, times) | self.advantage_metrics(experience))

    def collect(self, batch: PromptBatch) -> Collected:
        """Completions and scores for a batch of prompts; unanimous groups are replaced where a filter is set."""
        return collect(
            batch, self._more, self.engine, self.reward, self.sampling,
            group_filter=self.group_filter, failure_budget=self.failure_budget, seed=self._sampling_seed(),
        )  # fmt: skip

    def experience(self, collected: Collected) -> tuple[Experience, Float[Tensor, " b"] | None]:
        """Shaped rewards and advantages of a rollout batch; also the length part before its weight."""
        rollouts, scores = collected.rollouts, collected.scores
        task = collected.batch.task[rollouts.prompt]
        tokens = rollouts.completion_mask.sum(1)
        rewards, length_part = self.shaping.shaped(scores.total, scores.parts["accuracy"], tokens, task, rollouts.prompt)
        parts = dict(scores.parts) | ({} if length_part is None else {"length": length_part})
        experience = Experience(
            batch=collected.batch,
            rollouts=rollouts,
            task=task,
            scores=scores,
            rewards=rewards,
            advantages=self.advantage(rewards, rollouts.prompt, task, parts=parts, completion_tokens=tokens),
            ref_logprobs=self._reference_logprobs(collected),
        )
        return experience, length_part

    def update(self, parts: list[Experience]) -> UpdateStats:
        """One update from the micro-batches of a minibatch; a loss or gradient that is not finite stops the run before it."""
        optimizer = self.optimizers()
        optimizer.zero_grad()
        try:
            stats = self.updater.backward(self.policy, parts, self.manual_backward)
            norm = clip_gradients(self.policy, self.max_grad_norm, parts)
        except FloatingPointError as error:
            kept = f"{self.trainer.default_root_dir}/checkpoints/last_finite.ckpt"
            self.trainer.save_checkpoint(kept)
            raise RuntimeError(
                f"step {self.steps_done + 1}: {error}; the weights before it are in {kept}. Lower optimizer.lr or max_grad_norm."
            ) from error
        optimizer.step()
        stats.loss |= {"grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
        return stats

    def record(self, row: dict[str, float]) -> None:
        """One row to every logger. Not through `self.log`, which repeats the last value of a task that had no prompt in this step."""
        self.last_metrics = row
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=self.steps_done - 1)

    def advantage_metrics(self, experience: Experience) -> dict[str, float]:
        """Shape of the advantages by task."""
        rollouts = experience.rollouts
        return advantage_metrics(experience.advantages, experience.rewards, experience.scores.total, rollouts.prompt, experience.task)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser over whatever is not frozen."""
        return self.optimizer_factory([p for p in self.policy.parameters() if p.requires_grad])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the weights do not hold: the step count and the estimator's memory."""
        state = self.advantage.state_dict() if hasattr(self.advantage, "state_dict") else {}
        checkpoint["g2rpo"] = {"steps_done": self.steps_done, "advantage": state}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores it."""
        self.steps_done = checkpoint["g2rpo"]["steps_done"]
        if hasattr(self.advantage, "load_state_dict"):
            self.advantage.load_state_dict(checkpoint["g2rpo"]["advantage"])

    def _more(self) -> PromptBatch:
        return self.trainer.datamodule.draw().to(self.device)

    def _sampling_seed(self) -> int:
        return Random(f"{self.seed}/sampling/{self.steps_done}").getrandbits(48)  # noqa: S311

    @torch.no_grad()
    def _reference_logprobs(self, collected: Collected) -> Float[Tensor, "b t"] | None:
        (reference,) = self._reference
        if reference is None:
            return None
        rollouts = collected.rollouts
        part = Experience(
            batch=collected.batch, rollouts=rollouts, task=collected.batch.task[rollouts.prompt], scores=collected.scores,
            rewards=collected.scores.total, advantages=collected.scores.total,
        )  # fmt: skip
        pieces = [select_experience(part, rows) for rows in self.batch.microbatches(list(range(len(collected.batch.prompts))))]
        return torch.cat([self.updater.stats(reference.to(self.device), piece).logprobs for piece in pieces])
