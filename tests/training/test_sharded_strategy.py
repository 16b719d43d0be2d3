"""Sharded models are loaded when the processes are connected; see also `test_ranks.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2rpo.training.build import build_module, build_trainer
from g2rpo.training.parts import build_parts
from g2rpo.training.sharded_strategy import ShardedStrategy


def test_trainer_fsdp_loads_no_weights_before_training(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    cfg = composed("trainer=fsdp", "trainer.accelerator=cpu", f"run_dir={tmp_path}")
    trainer = build_trainer(cfg)
    module = build_module(cfg, build_parts(cfg), trainer)
    assert isinstance(trainer.strategy, ShardedStrategy)
    assert module.policy is None
