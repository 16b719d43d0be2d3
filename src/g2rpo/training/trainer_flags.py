"""Refuses Trainer flags and optimizers that cannot work here, and says what to use instead."""

import re
from collections.abc import Mapping
from typing import Any

PRECISIONS = ("32-true", "32", "bf16-mixed")
STRATEGIES = ("auto", "ddp", "single_device")
LIMITS = ("limit_train_batches", "limit_val_batches")
_DEVICES = re.compile(r"auto|-1|[0-9]+(,[0-9]+)*,?|\$\{.*\}")
USE_INSTEAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "gradient_clip_val": (
        (None, 0),
        "updates are manual and clip by themselves; set max_grad_norm",
    ),
    "gradient_clip_algorithm": ((None,), "updates are manual and clip by norm; set max_grad_norm"),
    "accumulate_grad_batches": (
        (1,),
        (
            "updates are manual; batch.micro_batch_prompts or batch.micro_batch_tokens cut a"
            " minibatch into accumulated pieces"
        ),
    ),
    "callbacks": (
        (None,),
        "callbacks have a group of their own; use +callbacks.<name>._target_=<class>",
    ),
    "logger": (
        (None, True),
        (
            "loggers have a group of their own; use logger=[csv,tensorboard] or"
            " +logger.<name>._target_=<class>"
        ),
    ),
    "barebones": (
        (False,),
        "it switches loggers and checkpoints off; use fast_dev_run=true for a quick try",
    ),
    "overfit_batches": (
        (0, 0.0),
        (
            "prompts come from an endless stream; limit the data source instead, for example"
            " data.levels"
        ),
    ),
    "reload_dataloaders_every_n_epochs": (
        (0,),
        "the stream of prompts is one epoch and is never reloaded",
    ),
    "sync_batchnorm": ((False,), "no supported policy has batch normalization"),
}
"""Allowed values of each flag, and what to use instead of other values."""


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Refuse Trainer flags that have no effect with manual optimization.

    Args:
        trainer: The composed `trainer` group as plain values.

    Raises:
        ValueError: with the flag, its value, and what to use instead.
    """
    for flag, (allowed, instead) in USE_INSTEAD.items():
        if flag in trainer and trainer[flag] not in allowed:
            raise ValueError(
                f"trainer.{flag}={trainer[flag]}: this flag has no effect here, because {instead}"
            )
    check_trainer_counts(trainer)
    precision = trainer.get("precision")
    if precision is not None and str(precision) not in PRECISIONS:
        raise ValueError(
            f"trainer.precision: expected one of {', '.join(PRECISIONS)}, got {precision};"
            " use bf16-mixed to hold weights in float32 and compute in bfloat16, or, if memory"
            " forbids float32 weights, 32-true model.dtype=bfloat16 optimizer=adamw_kahan"
        )
    strategy = trainer.get("strategy", "auto")
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        raise ValueError(
            f"trainer.strategy: expected one of {', '.join(STRATEGIES)}, got {strategy}: every"
            " process holds the whole weights; model/adapter=lora or a smaller"
            " batch.micro_batch_tokens save memory instead"
        )


def check_trainer_counts(trainer: Mapping[str, Any]) -> None:
    """Refuse numbers of devices and batches that mean nothing; see `check_trainer`."""
    devices = trainer.get("devices", "auto")
    if devices == 0 or (isinstance(devices, str) and not _DEVICES.fullmatch(devices)):
        raise ValueError(
            "trainer.devices: expected the number of devices of this machine, -1 for all, auto, or"
            f" a list of their numbers, got {devices}"
        )
    for flag in ("val_check_interval", *LIMITS):
        value = trainer.get(flag)
        if isinstance(value, float) and not 0 <= value <= 1:
            raise ValueError(
                f"trainer.{flag}: expected a whole number of batches, or a share in [0, 1], got"
                f" {value}"
            )


def check_optimizer(optimizer: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    """Refuse optimizers that cannot work with sharded weights.

    Args:
        optimizer: The composed `optimizer` group as plain values.
        trainer: The composed `trainer` group as plain values.

    Raises:
        ValueError: with the setting, and what to use instead.
    """
    strategy = trainer.get("strategy")
    target = strategy.get("_target_", "") if isinstance(strategy, Mapping) else ""
    if not str(target).endswith(".ShardedStrategy"):
        return
    if str(optimizer.get("_target_")).endswith(".adamw_8bit"):
        raise ValueError(
            "optimizer=adamw_8bit: expected trainer=auto or trainer=ddp, got trainer=fsdp, whose"
            " checkpoints cannot hold shards of 8-bit moments; use optimizer=adamw, whose moments"
            " are sharded, or model.dtype=bfloat16 trainer.precision=32-true optimizer=adamw_kahan"
        )
    if optimizer.get("triton"):
        raise ValueError(
            "optimizer.triton: expected false with trainer=fsdp, got true: the fused kernel cannot"
            " update shards"
        )
