"""A run whose checkpoints do not fit the disk is warned of before it starts."""

import logging
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from g2rpo.training.benchmark_callback import Benchmarks
from g2rpo.training.disk_space import checkpoints_at_once, warn_if_full

Usage = namedtuple("Usage", "total used free")


def saving(folder: Path, top: int = 1, every: int = 50, last: bool = True) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder, save_top_k=top, every_n_train_steps=every, save_last=last
    )


def test_what_is_kept_and_what_is_being_written_counts(tmp_path: Path) -> None:
    other = tmp_path / "other"
    # 1 by steps, 1 by the clock, one last.ckpt for both, and a new one
    assert checkpoints_at_once([saving(tmp_path), saving(tmp_path)], 100) == (4, 2)
    assert checkpoints_at_once([saving(tmp_path), saving(other)], 100) == (5, 2)
    assert checkpoints_at_once([saving(tmp_path, top=-1, every=30, last=False)], 100) == (5, 2)
    best = Benchmarks(folder=tmp_path)
    assert checkpoints_at_once([best], 100) == (0, 3)
    assert checkpoints_at_once([Benchmarks(folder=tmp_path, keep_best=False)], 100) == (0, 2)


@pytest.mark.parametrize(("free", "warned"), [(3 * 7 + 2 * 5 - 1, True), (3 * 7 + 2 * 5, False)])
def test_a_disk_is_too_small_if_the_largest_number_of_them_does_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    free: int,
    warned: bool,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free * 10**9))
    with caplog.at_level(logging.WARNING, "g2rpo"):
        warn_if_full(
            tmp_path,
            [saving(tmp_path)],
            100,
            checkpoint_bytes=7 * 10**9,
            export_bytes=5 * 10**9,
        )
    told = "checkpoints need up to 31.0 GB (3 times 7.0 GB of training state, 2 times 5.0 GB"
    assert (told in caplog.text) == warned
    assert (f"but {free}.0 GB are free" in caplog.text) == warned
