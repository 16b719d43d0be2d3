"""G2RPO as a LightningModule: `training_step` is the whole algorithm.

    prompts -> completions -> scores -> shaped rewards -> advantages
            -> loss (surrogate + KL + entropy band) -> updates -> weight sync

One call of `training_step` handles one rollout batch and makes `batch.num_minibatches` optimizer
updates, so optimization is manual. A *step* is one update: `trainer.global_step`.

Every process draws, scores and differentiates its own prompts. Advantages, loss denominators,
minibatches and gradients are computed over the prompts of all processes.
"""

import time
from collections.abc import Mapping
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo.algorithm.loss.kl import completion_penalty
from g2rpo.interfaces import Encoder, OwnWeights, Reward, RolloutEngine
from g2rpo.metrics import checked
from g2rpo.policy.adapter import adapter_off
from g2rpo.policy.forward import without_autocast
from g2rpo.records import Experience, PromptBatch
from g2rpo.rollout.kept_groups import Collected, KeptShare
from g2rpo.stopwatch import taken, taken_blocks, timed
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.collecting import Collecting, look_ahead_of
from g2rpo.training.gradients import clip_gradients
from g2rpo.training.sampler_mismatch import SampleWatch
from g2rpo.training.sharded_strategy import ShardedModels
from g2rpo.training.step_metrics import (
    CutNotice,
    StepTimes,
    step_metrics,
    throughput,
)
from g2rpo.training.table import CompletionTable, completion_table
from g2rpo.training.timeline import Timeline, idle_shares
from g2rpo.training.update import Updater, UpdateStats, prompts_of
from g2rpo.training.validation import Validation


class G2RPOModule(Collecting):
    """Trains a policy with the G2RPO objective.

    Args:
        policy: The model to train, or what loads it in shards when training starts.
        encoder: Turns prompts into model inputs; it belongs to the checkpoint of the policy.
        engine: Generates completions; the constructor starts it on the policy.
        reward: Scores completions.
        algorithm: Everything between completions and updated weights.
        reference: Reference policy of the KL penalty: a frozen copy, or the policy itself if it
            has an adapter, which is then disabled. None if `loss.kl_coef` is 0.
        validation: Held-out prompts and benchmarks; None for a module that is never validated.
        config: The composed configuration as plain values, saved in checkpoints as
            `hyper_parameters`.
    """

    def __init__(
        self,
        *,
        policy: Any,
        encoder: Encoder,
        engine: RolloutEngine,
        reward: Reward,
        algorithm: Algorithm,
        reference: Any | None = None,
        validation: Validation | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(dict(config or {}))
        self.automatic_optimization = False
        self.encoder, self.engine, self.reward = encoder, engine, reward
        self.algorithm, self.validation = algorithm, validation
        self.sampling = engine.sampling.with_group_size(algorithm.batch.group_size)
        self.updater = Updater(
            algorithm,
            forbidden=tuple(encoder.forbidden_token_ids),
            temperature=engine.sampling.temperature,
        )
        self.cut_notice, self.timeline = CutNotice(), Timeline()
        self.corrects_sampler = algorithm.corrects_sampler
        self.sample_watch = SampleWatch(algorithm.tasks, algorithm.rejection)
        self.rollout_batch = self.empty_draws = self.validated_step = 0
        self.draws, self.kept_share = 1, KeptShare()
        self.look_ahead = look_ahead_of(
            engine, reward, self.sampling, algorithm, self.timeline.during
        )
        self._sharded_models = policy if isinstance(policy, ShardedModels) else None
        self._hold(None if self._sharded_models else policy, reference)

    @without_autocast
    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        """Generate, score and learn from one rollout batch.

        Returns:
            What callbacks get as `outputs` in `on_train_batch_end`: `loss` (the mean over the
            updates), `metrics` (the logged row), the `experience` and `timeline` of this rank, and
            the `table` of the completions of all ranks.
        """
        times = StepTimes(start=time.perf_counter())
        collected = self.collect(batch)
        self.watch(collected)
        own = self.engine if isinstance(self.engine, OwnWeights) else None
        if own:
            own.sleep()
        times.rolled_out = time.perf_counter()
        experience, table = self.experience(collected)
        gradient_conflict = self.measure_gradient_conflict(experience, table)
        times.probed = time.perf_counter()

        rng = Random(f"{self.algorithm.seed}/{self.rollout_batch}")  # noqa: S311
        updates = []
        for places in self.algorithm.batch.minibatches(collected.num_groups, rng):
            rows = [row for row, place in enumerate(collected.places) if place in places]
            updates.append(self.update(self.updater.micro_batches(experience, rows)))

        self.rollout_batch += 1
        with timed("sync"):
            self.engine.load_weights(self.policy, self.global_step)
        times.updated = time.perf_counter()
        times.stages = taken()
        spans = self.timeline.step(taken_blocks(), own_weights=own is not None)
        row = checked(
            step_metrics(collected, table, updates, times)
            | gradient_conflict
            | (self.sample_watch.metrics(experience) if experience.off_policy else {})
            | throughput(self.policy, collected, self.updater.prefix, times.step_s)
            | idle_shares(spans, times.start, times.updated)
            | (own.metrics() if own else {})
            | self.ahead_metrics()
            | self.trainer.datamodule.stream.metrics()
            | {"rollout_batch": float(self.rollout_batch)}
        )
        self.cut_notice.watch(self.rollout_batch, row, self.sampling.max_new_tokens)
        self.record(row)
        if experience.off_policy:
            self.sample_watch.watch(self.global_step, row)
        loss = torch.tensor(sum(update.loss["total"] for update in updates) / len(updates))
        outputs = {"loss": loss, "metrics": row, "experience": experience, "table": table}
        return outputs | {"timeline": spans}

    @timed("advantage")
    def experience(self, collected: Collected) -> tuple[Experience, CompletionTable]:
        """Compute shaped rewards and advantages of a rollout batch.

        Returns:
            The completions of this rank, and the numbers of the completions of all ranks.
        """
        rollouts, scores, algorithm = collected.rollouts, collected.scores, self.algorithm
        loss = algorithm.loss
        task = collected.batch.task_positions(algorithm.tasks)[rollouts.prompt]
        trainer = self._logprobs(self.policy, collected) if self.corrects_sampler else None
        reference = self._reference_logprobs(collected)
        rewards, length_part = algorithm.shaping.shaped(
            scores.total,
            scores.accuracy,
            rollouts.completion_mask.sum(1),
            task,
            rollouts.prompt,
        )
        if reference is not None and loss.kl_placement == "reward":
            policy = rollouts.old_logprobs if trainer is None else trainer
            rewards = rewards - loss.kl_coef * completion_penalty(
                policy, reference, rollouts.completion_mask, estimator=loss.kl_estimator
            )
        parts = dict(scores.parts) | ({} if length_part is None else {"length": length_part})
        table = completion_table(collected, rewards, parts, algorithm.advantage, algorithm.tasks)
        experience = Experience(
            batch=collected.batch,
            rollouts=rollouts,
            task=task,
            scores=scores,
            rewards=rewards,
            advantages=table.advantages[table.own],
            ref_logprobs=reference,
            trainer_logprobs=trainer,
            staleness=rollouts.staleness(self.global_step),
        )
        return experience, table

    @timed("gradient_conflict", whole=True)
    def measure_gradient_conflict(
        self, experience: Experience, table: CompletionTable
    ) -> dict[str, float]:
        """Measure the gradient of each task, if this rollout batch is due for it."""
        if not self.algorithm.gradient_conflict.due(self.rollout_batch + 1):
            return {}

        def add_gradient(task: int) -> None:
            name = self.algorithm.tasks[task]
            rows = [
                row for row, prompt in enumerate(experience.batch.prompts) if prompt.task == name
            ]
            with self._without_ddp_averaging():
                self.updater.backward(
                    self.policy, self.updater.micro_batches(experience, rows), self.manual_backward
                )

        with self._stopping_where_not_finite():
            return self.algorithm.gradient_conflict.measure(
                self.policy,
                {task: table.names[task] for task in table.task.unique().tolist()},
                add_gradient,
            )

    def update(self, parts: list[Experience]) -> UpdateStats:
        """Update the weights from the micro-batches of one minibatch.

        Raises:
            RuntimeError: before the update, if the loss or the gradient is not finite.
        """
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        with self._stopping_where_not_finite():
            with self._without_ddp_averaging():
                seed = self._seed("gradient", self.global_step)
                stats = self.updater.backward(self.policy, parts, self.manual_backward, seed)
            with timed("optimizer"):
                norm = clip_gradients(self.policy, self.algorithm.max_grad_norm, prompts_of(parts))
        stats.loss |= {"grad_norm": norm, "lr": float(optimizer.param_groups[0]["lr"])}
        with timed("optimizer"):
            optimizer.step()
            # now and not before the next update, to free the memory during rollouts
            optimizer.zero_grad()
            if scheduler is not None:
                scheduler.step()
        if self.updater.entropy is not None:
            self.updater.entropy.ascend(stats.entropy_sum, stats.tokens)
        return stats

    @timed("old_logprobs", whole=True)
    def _logprobs(self, model: Any, collected: Collected) -> Float[Tensor, "b t"]:
        """Compute log-probabilities of the completions under the policy or the reference."""
        rollouts, total = collected.rollouts, collected.scores.total
        whole = Experience(
            batch=collected.batch,
            rollouts=rollouts,
            task=collected.batch.task_positions(self.algorithm.tasks)[rollouts.prompt],
            scores=collected.scores,
            rewards=total,
            advantages=total,
        )
        return self.updater.logprobs(model.to(self.device), whole)

    def _reference_logprobs(self, collected: Collected) -> Float[Tensor, "b t"] | None:
        model = self._reference[0]
        if model is None:
            return None
        with adapter_off(model):
            return self._logprobs(model, collected)
