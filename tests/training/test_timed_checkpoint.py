"""A checkpoint is written at the end of a step if enough time has passed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from g2rpo import cli
from g2rpo.training.build import all_of
from g2rpo.training.timed_checkpoint import TimedCheckpoint


def test_a_run_saves_by_the_clock_too(
    composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> None:
    cli.train(
        composed(
            "experiment=smoke",
            "model=folder",
            f"model.path={tiny_folder}",
            f"run_dir={tmp_path}",
            "heldout=none",
            "filter=none",
            "reward_workers=inline",
            "trainer.max_steps=2",
            "lr_scheduler=constant",
            "callbacks.checkpoint=null",
            "callbacks.timed_checkpoint.every_minutes=1e-6",
            "rollout.max_new_tokens=6",
        )
    )
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert {"last.ckpt", "timed-step=2.ckpt"} <= names
    assert "timed-step=1.ckpt" not in names


def test_it_saves_once_per_interval(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, saved = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = TimedCheckpoint(every_minutes=1, dirpath=tmp_path)
    monkeypatch.setattr(clock, "_should_skip_saving_checkpoint", lambda trainer: False)
    monkeypatch.setattr(clock, "_monitor_candidates", lambda trainer: {})
    monkeypatch.setattr(clock, "_save_topk_checkpoint", lambda *_: saved.append(now[0]))
    monkeypatch.setattr(clock, "_save_last_checkpoint", lambda *_: None)
    clock._saved_s = now[0]
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    for now[0] in (159.0, 160.0, 161.0, 219.0, 290.0, 340.0, 350.0):
        clock.on_train_batch_end(trainer, None, None, None, 0)
    assert saved == [160.0, 290.0, 350.0]


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_an_interval_that_is_no_time_is_refused(minutes: float) -> None:
    with pytest.raises(ValueError, match=r"callbacks\.timed_checkpoint\.every_minutes: expected"):
        TimedCheckpoint(every_minutes=minutes)


def test_lightnings_own_interval_is_refused_because_it_would_never_save(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    cfg = composed(
        "+callbacks.checkpoint.train_time_interval._target_=datetime.timedelta",
        "+callbacks.checkpoint.train_time_interval.minutes=5",
        "callbacks.checkpoint.every_n_train_steps=null",
        f"run_dir={tmp_path}",
    )
    with pytest.raises(ValueError, match=r"train_time_interval: .*callbacks\.timed_checkpoint"):
        all_of(cfg, "callbacks")
