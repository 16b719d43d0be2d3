"""The hooks that Lightning calls on a module whose updates are manual.

`module.py` holds the algorithm. Its base class here holds optimizer set-up, logging, validation,
checkpoints, and what distributed runs need.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo import ranks
from g2rpo.interfaces import Encoder, OwnWeights, Reward, RolloutEngine
from g2rpo.launch import marks
from g2rpo.policy.checkpoint import parameter_counts
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.forward import gathered
from g2rpo.rollout.ahead import LookAhead, resume_ahead, saved_ahead
from g2rpo.rollout.kept_groups import KeptShare
from g2rpo.stopwatch import taken, taken_blocks
from g2rpo.training.algorithm import Algorithm, refuse_plateau
from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.fused_adamw import fuse
from g2rpo.training.heldout import HeldoutBatch
from g2rpo.training.lost_updates import refuse_lost_updates
from g2rpo.training.resume import keep_adapter, load_part, restore_base
from g2rpo.training.sharded_checkpoints import save_at_once
from g2rpo.training.sharded_strategy import ShardedModels, ShardedStrategy
from g2rpo.training.timeline import TRAINER, Timeline
from g2rpo.training.validation import Validation

log = logging.getLogger("g2rpo")


class LightningHooks(L.LightningModule):
    """Everything that Lightning asks of a module besides `training_step`.

    A subclass sets the attributes below in its constructor.
    """

    policy: Any
    """None until `configure_model` if the weights are sharded."""
    _reference: tuple[Any]
    _sharded_models: ShardedModels | None
    encoder: Encoder
    engine: RolloutEngine
    reward: Reward
    algorithm: Algorithm
    validation: Validation | None
    rollout_batch: int
    """Number of rollout batches learned from so far."""
    empty_draws: int
    """Number of consecutive draws in which no group was kept."""
    validated_step: int
    kept_share: KeptShare
    draws: int
    """Number of draws of the last rollout batch."""
    look_ahead: LookAhead | None
    """Keeps rollouts in flight; None without `rollout.ahead`."""
    timeline: Timeline

    def setup(self, stage: str) -> None:
        """Refuse other sharding than `trainer=fsdp`, and let the encoder process images on a GPU.

        Raises:
            ValueError: if several processes use neither `trainer=ddp` nor `trainer=fsdp`.
        """
        strategy = self.trainer.strategy
        known = isinstance(strategy, DDPStrategy | ShardedStrategy)
        if self.trainer.world_size > 1 and not known:
            raise ValueError(
                "trainer.strategy: expected trainer=ddp or trainer=fsdp with"
                f" {self.trainer.world_size} processes, got {type(strategy).__name__}"
            )
        if isinstance(self.encoder, ChatEncoder):
            self.encoder.process_on(strategy.root_device)

    def configure_model(self) -> None:
        """Load sharded weights, which needs connected processes; do nothing the second time."""
        if self._sharded_models is not None and self.policy is None:
            self._hold(*self._sharded_models.load(self.trainer.strategy.sharding()))

    def _hold(self, policy: Any, reference: Any | None) -> None:
        """Store the models and let the engine start on the policy."""
        self.policy = policy
        # in a tuple, so that the frozen weights are neither trained nor saved in checkpoints
        self._reference = (reference,)
        if policy is not None:
            self.engine.start(policy, self.encoder)

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Generate within this block, which all ranks must enter and leave together.

        Sharded weights are gathered within it, if the engine generates with them.
        """
        own = isinstance(self.engine, OwnWeights)
        weights = self.engine.generating() if own else gathered(self.policy)
        # what the policy caches under inference mode could not be used in a later backward pass
        with torch.inference_mode(False), torch.no_grad(), weights:
            yield

    def optimizer(self) -> torch.optim.Optimizer:
        """Build the optimizer over the trainable parameters.

        Raises:
            ValueError: if rounding would keep the weights from moving.
        """
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        optimizer = self.algorithm.optimizer(trained)
        refuse_lost_updates(optimizer)
        fuse(optimizer)
        return optimizer

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the trainable parameters, and its scheduler if there is one.

        The module steps the scheduler after every update.
        """
        optimizer = self.optimizer()
        if self.algorithm.lr_scheduler is None:
            return optimizer
        scheduler = self.algorithm.lr_scheduler(optimizer)
        refuse_plateau(type(scheduler))
        plan = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def on_train_start(self) -> None:
        """Send the weights to an engine that holds a copy: a resumed run has just loaded them."""
        marks.begin()
        if self.trainer.is_global_zero:
            log.info("trains %s", parameter_counts(self.policy))
        if isinstance(self.engine, OwnWeights):
            self.engine.load_weights(self.policy, self.global_step)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Let a signal wait for the end of the step, because the weights change now."""
        marks.may_drop(False)

    def record(self, row: dict[str, float]) -> None:
        """Log one row of metrics of a rollout batch, to callbacks and to every logger.

        Lightning's connector repeats the last value of a task without prompts, counts batches as
        steps, writes after checkpoints (a kill in between loses the row), and is slower.
        """
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.items()}
        self.trainer.callback_metrics.update(values)
        if self.rollout_batch % self.trainer.log_every_n_steps == 0 or self.rollout_batch == 1:
            for logger in self.trainer.loggers:
                logger.log_metrics(row, step=self.global_step)
        self._set_clock(self.global_step - 1)  # Lightning adds 1 when this batch ends

    def log_scores(self, row: Mapping[str, float]) -> None:
        """Log numbers of a validation, equal on all ranks, to callbacks and loggers."""
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1, rank_zero_only=False)

    def _set_clock(self, step: int) -> None:
        """Set the step at which Lightning's connector and monitors log.

        Lightning counts batches, but a step here is an update.
        """
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = step

    def on_validation_epoch_start(self) -> None:
        """Begin a validation without rows."""
        marks.begin()
        self._validation_start_s = time.perf_counter()
        self._set_clock(self.global_step)
        if self.validation is not None:
            self.validation.begin()

    def validation_step(self, batch: HeldoutBatch, batch_idx: int) -> None:
        """Answer and judge this rank's share of a batch of held-out prompts."""
        assert self.validation is not None
        scoring = nullcontext() if self.look_ahead is None else self.look_ahead.scoring
        with self.generating(), ranks.dropping_together(), scoring:
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
            self.validated_step = self.global_step
        taken()  # the next rollout batch starts its stopwatch anew
        taken_blocks()
        self.timeline.span(TRAINER, "validation", self._validation_start_s, time.perf_counter())

    def on_validation_end(self) -> None:
        """Restore the clock that Lightning expects at the end of a training batch."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self._set_clock(self.global_step - 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add counts and the state of advantage and shaping; of LoRA, keep only the adapter."""
        checkpoint["g2rpo"] = {
            "rollout_batch": self.rollout_batch,
            "empty_draws": self.empty_draws,
            "validated_step": self.validated_step,
            **{"draws": self.draws, "kept_share": self.kept_share.share},
            "ahead": saved_ahead(self.look_ahead),
        } | {name: part.state_dict() for name, part in self._stateful().items()}
        keep_adapter(checkpoint, self.policy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` added."""
        restore_base(checkpoint, self.policy)
        own = checkpoint["g2rpo"]
        self.rollout_batch, self.empty_draws = own["rollout_batch"], own["empty_draws"]
        self.validated_step = own.get("validated_step", checkpoint.get("global_step"))
        self.draws, self.kept_share.share = own.get("draws", 1), own.get("kept_share")
        resume_ahead(self.look_ahead, own.get("ahead", []))
        self._resume_validation(checkpoint)
        for name, part in self._stateful().items():
            load_part(name, part, own.get(name, {}))

    def _stateful(self) -> dict[str, Any]:
        """Return the parts of the algorithm that have a state of their own, by name."""
        parts = {"advantage": self.algorithm.advantage, "shaping": self.algorithm.shaping}
        return {name: part for name, part in parts.items() if hasattr(part, "state_dict")}

    def _resume_validation(self, checkpoint: dict[str, Any]) -> None:
        """Let Lightning run the validation at the step of the checkpoint, if it has not ended.

        A checkpoint is saved before the validation at its step. After a kill in between, Lightning
        would leave that validation out; it resumes one that the counts show as begun.
        """
        interval = None if self._trainer is None else self._trainer.val_check_interval
        if (
            isinstance(interval, int)
            and self.rollout_batch % interval == 0
            and self.validated_step != checkpoint.get("global_step")
        ):
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress["total"] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress["current"] |= dict.fromkeys(("ready", "started", "processed", "completed"), 0)

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = None, **kwargs: Any
    ) -> Self:
        """Rebuild the module of a checkpoint from its `hyper_parameters`.

        Args:
            checkpoint_path: A `.ckpt` file of a run.
            map_location: Device to which its tensors are loaded.
            **kwargs: `policy`, `encoder` and the other arguments of the class. They build the
                module without the saved configuration. `trusted`: packages of plug-ins that the
                saved configuration may name, besides g2rpo's own choices.

        Raises:
            ValueError: if the checkpoint could run code that nobody trusted.
        """
        trusted = kwargs.pop("trusted", ())
        if "policy" not in kwargs:
            from g2rpo.training.build import module_arguments

            kwargs = module_arguments(Path(checkpoint_path), trusted) | kwargs
        strict = kwargs.pop("strict", True)
        module = cls(**{k: v for k, v in kwargs.items() if k != "weights_only"})
        checkpoint = read_checkpoint(Path(checkpoint_path), map_location or "cpu")
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"], strict=strict)
        return module

    def _without_ddp_averaging(self) -> AbstractContextManager[Any]:
        """Keep DDP from averaging gradients during backward passes.

        They are summed once, after the last micro-batch (`ranks.add_gradients`).
        """
        strategy = self.trainer.strategy
        return (
            strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()
        )

    @contextmanager
    def _stopping_where_not_finite(self) -> Iterator[None]:
        """Turn a loss or gradient that is not finite into an error, after saving the weights."""
        try:
            yield
        except FloatingPointError as error:
            kept = f"{self.trainer.default_root_dir}/checkpoints/last_finite.ckpt"
            save_at_once(self.trainer, kept)
            raise RuntimeError(
                f"step {self.global_step + 1}: {error}; the weights before it are in {kept}. Lower"
                " optimizer.lr or max_grad_norm."
            ) from error
