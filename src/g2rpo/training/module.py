"""G2RPO as a LightningModule. `training_step` is the whole algorithm on one screen; everything it calls is a plug-in or pure.

    prompts -> completions -> scores -> (length part) -> advantages -> loss (surrogate + KL + entropy band) -> update -> weight sync

Optimisation is manual, because one rollout batch may take several updates; so clipping, accumulation and the number of
minibatches are arguments here and never of the Trainer. With several processes each draws, judges and differentiates its own
prompts; advantages, denominators, the cut into minibatches and the gradient are those of all of them.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from random import Random
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from g2rpo import ranks
from g2rpo.interfaces import Advantage, Encoder, GroupFilter, Loss, OwnWeights, Reward, RolloutEngine
from g2rpo.loss.kl import completion_penalty
from g2rpo.metrics import checked
from g2rpo.model.adapter import adapter_off
from g2rpo.records import Experience, PromptBatch
from g2rpo.rollout.collect import Collected, collect, nothing_kept
from g2rpo.rollout.join import group_rows
from g2rpo.shaping import Shaping
from g2rpo.stopwatch import stage, taken
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.cut_notice import CutNotice
from g2rpo.training.equity import GradientEquity
from g2rpo.training.mismatch import sampler_mismatch
from g2rpo.training.parts import check_kl_counts
from g2rpo.training.resume import keep_adapter, restore_base
from g2rpo.training.step_metrics import StepTimes, step_metrics
from g2rpo.training.table import CompletionTable, completion_table
from g2rpo.training.throughput import throughput
from g2rpo.training.update import Updater, UpdateStats, clip_gradients, select_experience

log = logging.getLogger("g2rpo")
OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


class G2RPOModule(L.LightningModule):
    """Wraps policy and reference with the G2RPO objective.

    Args:
        policy: The model in training.
        reference: A frozen copy, or the policy itself if it has an adapter, which is switched off then; None where `loss.kl_coef` is 0.
        encoder: Of the same checkpoint.
        engine: Writes completions; started on the policy here.
        reward: Judges them.
        advantage: Turns a rollout batch's rewards into advantages.
        loss: Policy loss with its KL term.
        shaping: Length and entropy bands.
        batch: Sizes and cuts.
        optimizer: Makes the optimiser from the trainable parameters.
        group_filter: Which groups are learnt from; the others are replaced.
        equity: When gradient equity is measured.
        max_grad_norm: Gradients are scaled down to this norm.
        failure_budget: Share of completions whose reward may fail before the run stops.
        prefix: How prompts pass through the policy, `policy.prefix`.
        seed: Of sampling and of the cut into minibatches; with the step's number it fixes every random choice.
    """

    def __init__(
        self, *, policy: Any, reference: Any | None, encoder: Encoder, engine: RolloutEngine, reward: Reward, advantage: Advantage,
        loss: Loss, shaping: Shaping, batch: BatchPlan, optimizer: OptimizerFactory, group_filter: GroupFilter,
        equity: GradientEquity, max_grad_norm: float, failure_budget: float, seed: int,
        prefix: str = "shared",
    ) -> None:  # fmt: skip
        super().__init__()
        check_kl_counts(loss, advantage)
        self.automatic_optimization = False
        self.policy = policy
        self._reference = (reference,)  # in a tuple, so that frozen weights are neither trained nor written to checkpoints
        self.encoder, self.engine, self.reward, self.advantage = encoder, engine, reward, advantage
        self.shaping, self.batch, self.optimizer_factory, self.group_filter = shaping, batch, optimizer, group_filter
        self.equity, self.max_grad_norm, self.failure_budget, self.seed = equity, max_grad_norm, failure_budget, seed
        self.sampling = engine.sampling.with_group_size(batch.group_size)
        self.updater = Updater(
            loss=loss, entropy=shaping.entropy, forbidden=tuple(encoder.forbidden_token_ids),
            temperature=engine.sampling.temperature, prefix=prefix,
        )  # fmt: skip
        self.steps_done = 0
        self.cut_notice = CutNotice()
        self.empty_draws = 0
        self.last_experience: Experience | None = None
        self.last_metrics: dict[str, float] = {}
        engine.start(policy, encoder)

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """One rollout batch: drawn, judged, learnt from."""
        times = StepTimes(start=time.perf_counter())
        collected = self.collect(batch)
        self._watch(collected)
        own = self.engine if isinstance(self.engine, OwnWeights) else None
        if own:
            own.rest()
        times.rolled_out = time.perf_counter()
        experience, table = self.experience(collected)
        equity = self.measure_equity(experience, table)
        times.probed = time.perf_counter()

        rng = Random(f"{self.seed}/{self.steps_done}")  # noqa: S311
        updates = []
        for places in self.batch.minibatches(collected.num_groups, rng):
            rows = [row for row, place in enumerate(collected.places) if place in places]
            updates.append(self.update(self._micro_batches(experience, rows)))

        self.steps_done += 1
        with stage("sync"):
            self.engine.load_weights(self.policy, self.steps_done)
        times.updated = time.perf_counter()
        times.stages = taken()
        self.last_experience = experience
        row = step_metrics(collected, table, updates, times) | equity | sampler_mismatch(experience)
        row |= throughput(self.policy, collected, self.updater.prefix, times.updated - times.start)
        self.cut_notice.watch(self.steps_done, row, self.sampling.max_new_tokens)
        self.record(row | (checked(own.metrics()) if own else {}))

    def collect(self, batch: PromptBatch) -> Collected:
        """Completions and scores for a batch of prompts; unanimous groups are replaced where a filter is set."""
        try:
            return collect(
                batch, self._more, self.engine, self.reward, self.sampling,
                group_filter=self.group_filter, failure_budget=self.failure_budget, seed=self._sampling_seed(),
                group_size_of=self.batch.group_sizes(),
            )  # fmt: skip
        except FloatingPointError as error:
            raise RuntimeError(
                f"step {self.steps_done + 1}: {error}. The weights are broken: lower optimizer.lr or max_grad_norm, "
                "and go on from a checkpoint before this step."
            ) from error

    @stage("advantage")
    def experience(self, collected: Collected) -> tuple[Experience, CompletionTable]:
        """Shaped rewards and advantages of a rollout batch: this rank's completions, and the numbers of all ranks'."""
        rollouts, scores, loss = collected.rollouts, collected.scores, self.updater.loss
        task = collected.batch.task[rollouts.prompt]
        trainer = self._logprobs(self.policy, collected) if loss.tis_clip is not None else None
        reference = self._reference_logprobs(collected)
        rewards, length_part = self.shaping.shaped(
            scores.total, scores.parts["accuracy"], rollouts.completion_mask.sum(1), task, rollouts.prompt
        )
        if reference is not None and loss.kl_placement == "reward":
            policy = rollouts.old_logprobs if trainer is None else trainer
            rewards = rewards - loss.kl_coef * completion_penalty(policy, reference, rollouts.completion_mask, estimator=loss.kl_estimator)
        parts = dict(scores.parts) | ({} if length_part is None else {"length": length_part})
        table = completion_table(collected, rewards, parts, self.advantage)
        experience = Experience(
            batch=collected.batch, rollouts=rollouts, task=task, scores=scores, rewards=rewards,
            advantages=table.advantages[table.own], ref_logprobs=reference, trainer_logprobs=trainer,
        )  # fmt: skip
        return experience, table

    @stage("equity", whole=True)
    def measure_equity(self, experience: Experience, table: CompletionTable) -> dict[str, float]:
        """How hard and in which direction each task of the batch pulls, in the steps where that is due."""
        if not self.equity.due(self.steps_done + 1):
            return {}

        def add_gradient(task: int) -> None:
            rows = (experience.batch.task == task).nonzero()[:, 0].tolist()
            with self._own_gradients():
                self.updater.backward(self.policy, self._micro_batches(experience, rows), self.manual_backward)

        with self._stopping_where_not_finite():
            return self.equity.measure(self.policy, table.task.unique().tolist(), add_gradient)

    def update(self, parts: list[Experience]) -> UpdateStats:
        """One update from the micro-batches of a minibatch; a loss or gradient that is not finite stops the run before it."""
        optimizer = self.optimizers()
        with self._stopping_where_not_finite():
            with self._own_gradients():
                stats = self.updater.backward(self.policy, parts, self.manual_backward)
            with stage("optimiser"):
                norm = clip_gradients(self.policy, self.max_grad_norm, parts)
        with stage("optimiser"):
            optimizer.step()
            optimizer.zero_grad()  # here and not before the next update: their memory is the rollouts' meanwhile
        stats.loss |= {"grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
        return stats

    def record(self, row: dict[str, float]) -> None:
        """One row to every logger. Not through `self.log`, which repeats the last value of a task that had no prompt in this step."""
        self.last_metrics = row
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=self.steps_done - 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser over whatever is not frozen."""
        return self.optimizer_factory([p for p in self.policy.parameters() if p.requires_grad])

    def setup(self, stage: str) -> None:
        """Refuses what would split the weights over processes: the updates here take them to be whole on each."""
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1 and not isinstance(strategy, DDPStrategy):
            raise ValueError(f"trainer.strategy: expected ddp with {self.trainer.world_size} processes, got {type(strategy).__name__}")

    def on_train_start(self) -> None:
        """Brings an engine with weights of its own up to date: a resumed run has just loaded those of its checkpoint."""
        if isinstance(self.engine, OwnWeights):
            self.engine.load_weights(self.policy, self.steps_done)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the weights do not hold: the step count and the estimator's memory. Of a policy with an adapter, only that is kept."""
        state = self.advantage.state_dict() if hasattr(self.advantage, "state_dict") else {}
        checkpoint["g2rpo"] = {"steps_done": self.steps_done, "empty_draws": self.empty_draws, "advantage": state}
        keep_adapter(checkpoint, self.policy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores it."""
        restore_base(checkpoint, self.policy)
        self.steps_done = checkpoint["g2rpo"]["steps_done"]
        self.empty_draws = checkpoint["g2rpo"]["empty_draws"]
        if hasattr(self.advantage, "load_state_dict"):
            self.advantage.load_state_dict(checkpoint["g2rpo"]["advantage"])

    def _watch(self, collected: Collected) -> None:
        """Tells the curriculum what came out, and stops a run in which nothing is learnt any more."""
        self.trainer.datamodule.observe(collected.accuracies)
        self.empty_draws = self.empty_draws + collected.draws if collected.empty else 0
        if not collected.empty:
            return
        if self.empty_draws >= self.group_filter.empty_draws:
            raise RuntimeError(f"step {self.steps_done + 1}: {nothing_kept(collected.drawn, self.empty_draws)}")
        log.warning("step %d: no group with mixed accuracy in %d draws, nothing to learn from", self.steps_done + 1, collected.draws)

    def _more(self) -> PromptBatch:
        return self.trainer.datamodule.draw().to(self.device)

    def _sampling_seed(self) -> int:
        drawn = Random(f"{self.seed}/sampling/{self.steps_done}").getrandbits(48)  # noqa: S311
        return drawn + (ranks.rank() << 48)

    @stage("old_logprobs", whole=True)
    @torch.no_grad()
    def _logprobs(self, model: Any, collected: Collected) -> Float[Tensor, "b t"]:
        """Log-probabilities of the completions under the policy as it is, or under the reference."""
        rollouts, total = collected.rollouts, collected.scores.total
        whole = Experience(
            batch=collected.batch, rollouts=rollouts, task=collected.batch.task[rollouts.prompt], scores=collected.scores,
            rewards=total, advantages=total,
        )  # fmt: skip
        out = torch.zeros_like(rollouts.old_logprobs)
        for rows in self._cut(whole, range(len(collected.batch.prompts))):
            mine = group_rows(torch.tensor(rows, device=out.device), rollouts.prompt)
            out[mine] = self.updater.stats(model.to(self.device), select_experience(whole, rows)).logprobs
        return out

    def _reference_logprobs(self, collected: Collected) -> Float[Tensor, "b t"] | None:
        model = self._reference[0]
        if model is None:
            return None
        with adapter_off(model):
            return self._logprobs(model, collected)

    def _micro_batches(self, experience: Experience, rows: Sequence[int]) -> list[Experience]:
        return [select_experience(experience, piece) for piece in self._cut(experience, rows)]

    def _cut(self, experience: Experience, rows: Sequence[int]) -> list[list[int]]:
        """Prompts of each forward pass; a pass takes groups of one size."""
        owner, prompts = experience.rollouts.prompt.cpu(), experience.batch.attention_mask.sum(1).cpu()
        sizes = torch.bincount(owner, minlength=len(prompts)).tolist()
        tokens = prompts.index_add(0, owner, experience.rollouts.completion_mask.sum(1).cpu()).tolist()
        alike = [[row for row in rows if sizes[row] == size] for size in sorted({sizes[row] for row in rows})]
        return [piece for group in alike for piece in self.batch.microbatches(group, tokens)]

    def _own_gradients(self) -> AbstractContextManager[Any]:
        """DDP would average gradients as they come; here they are added up once, after the last micro-batch (`ranks.add_gradients`)."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()

    @contextmanager
    def _stopping_where_not_finite(self) -> Iterator[None]:
        try:
            yield
        except FloatingPointError as error:
            kept = f"{self.trainer.default_root_dir}/checkpoints/last_finite.ckpt"
            self.trainer.save_checkpoint(kept)
            raise RuntimeError(
                f"step {self.steps_done + 1}: {error}; the weights before it are in {kept}. Lower optimizer.lr or max_grad_norm."
            ) from error
