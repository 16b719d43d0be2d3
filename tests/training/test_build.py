"""Module, data and trainer follow the configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.config_hash import config_hash
from g2rpo.training.build import build_data, build_trainer, module_arguments
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.parts import build_parts
from g2rpo.training.progress import Progress

Composed = Callable[..., Any]


@pytest.mark.parametrize(
    ("updates", "minibatches", "batches"), [(6, 1, 6), (6, 2, 3), (7, 2, 4), (1, 4, 1)]
)
def test_a_rollout_batch_serves_several_updates(
    composed: Composed, updates: int, minibatches: int, batches: int
) -> None:
    cfg = composed(
        f"trainer.max_steps={updates}",
        "batch.prompts_per_step=4",
        f"batch.num_minibatches={minibatches}",
    )
    data = build_data(cfg, build_parts(cfg))
    assert (data.num_steps, data.num_prompts) == (batches, 4)
    assert build_data(cfg, build_parts(cfg), updates=1).num_steps == 1


def test_metrics_csv_is_written_once_with_and_without_a_logger_of_that_kind(
    composed: Composed, tmp_path: Path
) -> None:
    for loggers in ("logger=[csv]", "logger=[lightning_csv]", "logger=[]"):
        trainer = build_trainer(composed(loggers, f"run_dir={tmp_path}"))
        kept = [logger for logger in trainer.loggers if isinstance(logger, MetricsCSV)]
        assert [logger.path for logger in kept] == [tmp_path / "metrics.csv"], loggers


def test_a_callback_set_to_null_is_left_out_and_more_come_after_the_configured_ones(
    composed: Composed, tmp_path: Path
) -> None:
    more = Progress()
    cfg = composed("callbacks.progress=null", f"run_dir={tmp_path}")
    found = build_trainer(cfg, more).callbacks
    assert [callback for callback in found if isinstance(callback, Progress)] == [more]


@pytest.mark.parametrize(
    ("interval", "epochs"), [("20", None), ("1", None), ("0.5", 1), ("1.0", 1)]
)
def test_a_validation_interval_in_rollout_batches_may_exceed_the_run(
    composed: Composed, tmp_path: Path, interval: str, epochs: int | None
) -> None:
    # Lightning compares the interval with the length of an epoch unless it counts across epochs
    cfg = composed(f"trainer.val_check_interval={interval}", f"run_dir={tmp_path}")
    trainer = build_trainer(cfg)
    assert trainer.val_check_interval == float(interval)
    assert trainer.check_val_every_n_epoch == epochs


def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    torch.save({"hyper_parameters": {"lr": 0.1}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt: expected the configuration of a run"):
        module_arguments(tmp_path / "other.ckpt")


def test_building_leaves_the_settings_as_they_were(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    """A sweep knows a finished job by the hash; `data.format.template` refers to `template`."""
    (tmp_path / "rows.jsonl").write_text(
        '{"task": "beads", "text": "?", "answer": "1", "answer_type": "numerical"}\n'
    )
    words = ["data=jsonl", f"data.root={tmp_path}", "data.files=rows.jsonl", "data.heldout=0"]
    cfg = composed(*words, f"run_dir={tmp_path}", "reward_workers=inline")
    before = config_hash(cfg)
    build_parts(cfg)
    assert config_hash(cfg) == before
