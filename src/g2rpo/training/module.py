"""G2RPO as a LightningModule. `training_step` is the whole algorithm; everything it calls is a
plug-in or pure.

    prompts -> completions -> scores -> (length part) -> advantages -> loss (surrogate + KL +
    entropy band) -> update -> weight sync

One call of `training_step` is a rollout batch. It takes `batch.num_minibatches` optimizer updates,
so optimization is manual, and a *step* is one update: `trainer.global_step`. With several processes
each draws, judges and differentiates its own prompts; advantages, denominators, the cut into
minibatches and the gradient are those of all of them.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import Any, Self

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from g2rpo import ranks
from g2rpo.algorithm.loss.kl import completion_penalty
from g2rpo.interfaces import Encoder, OwnWeights, Reward, RolloutEngine
from g2rpo.metrics import checked
from g2rpo.policy.adapter import adapter_off
from g2rpo.records import Experience, PromptBatch
from g2rpo.rollout.collect import Collected, collect, nothing_kept
from g2rpo.stopwatch import taken, timed
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.cut_notice import CutNotice
from g2rpo.training.heldout import HeldoutBatch
from g2rpo.training.mismatch import sampler_mismatch
from g2rpo.training.resume import keep_adapter, restore_base
from g2rpo.training.step_metrics import StepTimes, step_metrics
from g2rpo.training.table import CompletionTable, completion_table
from g2rpo.training.throughput import throughput
from g2rpo.training.update import Updater, UpdateStats, clip_gradients
from g2rpo.training.validation import Validation

log = logging.getLogger("g2rpo")


class G2RPOModule(L.LightningModule):
    """Wraps policy and reference with the G2RPO objective.

    Args:
        policy: The model in training.
        encoder: Turns prompts into model inputs; of the same checkpoint as the policy.
        engine: Writes completions; it is started on the policy here.
        reward: Judges completions.
        algorithm: Everything between completions and updated weights.
        reference: A frozen copy, or the policy itself if it has an adapter, which is then switched
            off; None if `loss.kl_coef` is 0.
        validation: What a validation asks and where it writes; None for a module that is never
            validated.
        config: The composed configuration as plain values. It is saved in checkpoints as
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
        self.policy = policy
        self._reference = (
            reference,
        )  # in a tuple, so that frozen weights are neither trained nor written to checkpoints
        self.encoder, self.engine, self.reward, self.algorithm, self.validation = (
            encoder,
            engine,
            reward,
            algorithm,
            validation,
        )
        self.sampling = engine.sampling.with_group_size(algorithm.batch.group_size)
        self.updater = Updater(
            algorithm,
            forbidden=tuple(encoder.forbidden_token_ids),
            temperature=engine.sampling.temperature,
        )
        self.rollout_batch = 0
        """Number of rollout batches learned from so far."""
        self.cut_notice = CutNotice()
        self.empty_draws = 0
        engine.start(policy, encoder)

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        """Draw, judge and learn from one rollout batch.

        Returns:
            `loss` (the mean of its updates), `metrics` (the row that was logged), this rank's
            `experience`, and the `table` of the completions of all ranks: what callbacks find as
            `outputs` in `on_train_batch_end`.
        """
        times = StepTimes(start=time.perf_counter())
        collected = self.collect(batch)
        self._watch(collected)
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
        row = (
            step_metrics(collected, table, updates, times)
            | gradient_conflict
            | sampler_mismatch(experience)
        )
        row |= throughput(self.policy, collected, self.updater.prefix, times.updated - times.start)
        row = checked(
            row | (own.metrics() if own else {}) | {"rollout_batch": float(self.rollout_batch)}
        )
        self.cut_notice.watch(self.global_step, row, self.sampling.max_new_tokens)
        self.record(row)
        loss = torch.tensor(sum(update.loss["total"] for update in updates) / len(updates))
        return {"loss": loss, "metrics": row, "experience": experience, "table": table}

    def collect(self, batch: PromptBatch) -> Collected:
        """Completions and scores for a batch of prompts; unanimous groups are replaced if a filter
        is set.
        """
        algorithm = self.algorithm
        try:
            return collect(
                batch,
                self._more,
                self.engine,
                self.reward,
                self.sampling,
                group_filter=algorithm.group_filter,
                failure_budget=algorithm.failure_budget,
                seed=self._sampling_seed(),
                group_size_of=algorithm.batch.group_sizes(),
            )
        except FloatingPointError as error:
            raise RuntimeError(
                f"step {self.global_step + 1}: {error}. The weights are broken: lower optimizer.lr"
                " or max_grad_norm, and go on from a checkpoint before this step."
            ) from error

    @timed("advantage")
    def experience(self, collected: Collected) -> tuple[Experience, CompletionTable]:
        """Shaped rewards and advantages of a rollout batch: this rank's completions, and the
        numbers of all ranks'.
        """
        rollouts, scores, loss, algorithm = (
            collected.rollouts,
            collected.scores,
            self.algorithm.loss,
            self.algorithm,
        )
        task = collected.batch.task[rollouts.prompt]
        trainer = self._logprobs(self.policy, collected) if loss.tis_clip is not None else None
        reference = self._reference_logprobs(collected)
        rewards, length_part = algorithm.shaping.shaped(
            scores.total,
            scores.parts["accuracy"],
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
        table = completion_table(collected, rewards, parts, algorithm.advantage)
        experience = Experience(
            batch=collected.batch,
            rollouts=rollouts,
            task=task,
            scores=scores,
            rewards=rewards,
            advantages=table.advantages[table.own],
            ref_logprobs=reference,
            trainer_logprobs=trainer,
        )
        return experience, table

    @timed("gradient_conflict", whole=True)
    def measure_gradient_conflict(
        self, experience: Experience, table: CompletionTable
    ) -> dict[str, float]:
        """Norm and direction of each task's gradient, in the rollout batches in which they are
        due.
        """
        if not self.algorithm.gradient_conflict.due(self.rollout_batch + 1):
            return {}

        def add_gradient(task: int) -> None:
            rows = (experience.batch.task == task).nonzero()[:, 0].tolist()
            with self._own_gradients():
                self.updater.backward(
                    self.policy, self.updater.micro_batches(experience, rows), self.manual_backward
                )

        with self._stopping_where_not_finite():
            return self.algorithm.gradient_conflict.measure(
                self.policy, table.task.unique().tolist(), add_gradient
            )

    def update(self, parts: list[Experience]) -> UpdateStats:
        """One update from the micro-batches of a minibatch; a loss or gradient that is not finite
        stops the run before it.
        """
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        with self._stopping_where_not_finite():
            with self._own_gradients():
                stats = self.updater.backward(self.policy, parts, self.manual_backward)
            with timed("optimizer"):
                norm = clip_gradients(self.policy, self.algorithm.max_grad_norm, parts)
        stats.loss |= {"grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
        with timed("optimizer"):
            optimizer.step()
            # here and not before the next update: their memory is the rollouts' meanwhile
            optimizer.zero_grad()
            if scheduler is not None:
                scheduler.step()
        return stats

    def record(self, row: dict[str, float]) -> None:
        """Give one row of numbers to callbacks, through `log_dict`, and to every logger.

        Loggers get it here and not from Lightning's own connector, for three reasons. The connector
        repeats the last value of a task that had no prompt in this rollout batch. It counts rollout
        batches where the row counts updates. And it writes after checkpoints have been saved, so
        that a run killed in between would lose the row.
        """
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.items()}
        self.log_dict(values, logger=False, on_step=True, on_epoch=False, batch_size=1)
        if self.rollout_batch % self.trainer.log_every_n_steps == 0 or self.rollout_batch == 1:
            for logger in self.trainer.loggers:
                logger.log_metrics(row, step=self.global_step)
        self._set_clock(self.global_step - 1)  # Lightning adds 1 when this batch ends

    def configure_optimizers(self) -> Any:
        """The optimizer over all parameters that are not frozen, and the scheduler, which `update`
        steps after every update.
        """
        optimizer = self.algorithm.optimizer(
            [p for p in self.policy.parameters() if p.requires_grad]
        )
        if self.algorithm.lr_scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": self.algorithm.lr_scheduler(optimizer),
                "interval": "step",
            },
        }

    def on_validation_epoch_start(self) -> None:
        """Begin a validation without rows."""
        self._set_clock(self.global_step)
        if self.validation is not None:
            self.validation.begin()

    def validation_step(self, batch: HeldoutBatch, batch_idx: int) -> None:
        """Answer and judge this rank's share of a batch of held-out prompts."""
        assert self.validation is not None
        # what the policy caches under inference mode could not be used in a later backward pass
        with torch.inference_mode(False), torch.no_grad():
            self.validation.answer(
                batch,
                engine=self.engine,
                encoder=self.encoder,
                reward=self.reward,
                device=self.device,
            )

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all ranks; the first rank writes the completions."""
        if self.validation is not None and not self.trainer.sanity_checking:
            self.log_scores(self.validation.finish(self.trainer))
        taken()  # the next rollout batch starts its stopwatch anew

    def on_validation_end(self) -> None:
        """Leave Lightning's clock as the end of the training batch expects it."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self._set_clock(self.global_step - 1)

    def log_scores(self, row: Mapping[str, float]) -> None:
        """Log numbers of a validation, equal on all ranks, to callbacks and loggers."""
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1, rank_zero_only=False)

    def setup(self, stage: str) -> None:
        """Refuse strategies that split the weights over processes: the updates here need them whole
        on each.
        """
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1 and not isinstance(strategy, DDPStrategy):
            raise ValueError(
                f"trainer.strategy: expected ddp with {self.trainer.world_size} processes, got"
                f" {type(strategy).__name__}"
            )

    def on_train_start(self) -> None:
        """Bring an engine with weights of its own up to date: a resumed run has just loaded those
        of its checkpoint.
        """
        if isinstance(self.engine, OwnWeights):
            self.engine.load_weights(self.policy, self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the weights do not hold: the counts and the estimator's memory. Of a policy with
        an adapter, only that is kept.
        """
        advantage = self.algorithm.advantage
        state = advantage.state_dict() if hasattr(advantage, "state_dict") else {}
        checkpoint["g2rpo"] = {
            "rollout_batch": self.rollout_batch,
            "empty_draws": self.empty_draws,
            "advantage": state,
        }
        keep_adapter(checkpoint, self.policy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it."""
        restore_base(checkpoint, self.policy)
        self.rollout_batch = checkpoint["g2rpo"]["rollout_batch"]
        self.empty_draws = checkpoint["g2rpo"]["empty_draws"]
        if hasattr(self.algorithm.advantage, "load_state_dict"):
            self.algorithm.advantage.load_state_dict(checkpoint["g2rpo"]["advantage"])

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = None, **kwargs: Any
    ) -> Self:
        """The module of a checkpoint, rebuilt from its `hyper_parameters`.

        Args:
            checkpoint_path: A `.ckpt` file of a run.
            map_location: Where its tensors are loaded.
            **kwargs: `policy`, `encoder` and the other arguments of the class, to build it without
                the saved configuration.
        """
        if "policy" not in kwargs:
            from g2rpo.training.build import module_arguments

            kwargs = module_arguments(Path(checkpoint_path)) | kwargs
        module: Self = super().load_from_checkpoint(
            checkpoint_path, map_location=map_location, **({"weights_only": False} | kwargs)
        )
        return module

    def _set_clock(self, step: int) -> None:
        """Set the step at which Lightning's connector and its monitors log: it counts batches, a
        run counts updates.
        """
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = step

    def _watch(self, collected: Collected) -> None:
        """Tell the curriculum what came out, and stop a run in which nothing is learned any
        more.
        """
        self.trainer.datamodule.observe(collected.accuracies)
        self.empty_draws = self.empty_draws + collected.draws if collected.empty else 0
        if not collected.empty:
            return
        step = self.global_step + 1
        if self.empty_draws >= self.algorithm.group_filter.empty_draws:
            raise RuntimeError(f"step {step}: {nothing_kept(collected.drawn, self.empty_draws)}")
        log.warning(
            "step %d: no group with mixed accuracy in %d draws, nothing to learn from",
            step,
            collected.draws,
        )

    def _more(self) -> PromptBatch:
        return self.trainer.datamodule.draw().to(self.device)

    def _sampling_seed(self) -> int:
        drawn = Random(f"{self.algorithm.seed}/sampling/{self.rollout_batch}").getrandbits(48)  # noqa: S311
        return drawn + (ranks.rank() << 48)

    @timed("old_logprobs", whole=True)
    def _logprobs(self, model: Any, collected: Collected) -> Float[Tensor, "b t"]:
        """Log-probabilities of the completions under the policy as it is, or under the
        reference.
        """
        rollouts, total = collected.rollouts, collected.scores.total
        whole = Experience(
            batch=collected.batch,
            rollouts=rollouts,
            task=collected.batch.task[rollouts.prompt],
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

    def _own_gradients(self) -> AbstractContextManager[Any]:
        """DDP would average gradients as they come; here they are added up once, after the last
        micro-batch (`ranks.add_gradients`).
        """
        strategy = self.trainer.strategy
        return (
            strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()
        )

    @contextmanager
    def _stopping_where_not_finite(self) -> Iterator[None]:
        try:
            yield
        except FloatingPointError as error:
            kept = f"{self.trainer.default_root_dir}/checkpoints/last_finite.ckpt"
            self.trainer.save_checkpoint(kept)
            raise RuntimeError(
                f"step {self.global_step + 1}: {error}; the weights before it are in {kept}. Lower"
                " optimizer.lr or max_grad_norm."
            ) from error
