"""Collective operations outlast the watch for hanging ranks, which names the rank."""

import signal
from datetime import timedelta

import lightning as L
import pytest
from lightning.pytorch.strategies import DDPStrategy

from g2rpo.launch.meeting import meeting
from g2rpo.training.interrupt import Stopped
from g2rpo.training.launched import leave, meet_launched, wait_longer_than


@pytest.mark.parametrize(
    ("minutes", "hang_s", "expected_s"), [(30, 3600.0, 3720.0), (30, 60.0, 1800.0), (5, None, 300)]
)
def test_a_collective_waits_longer_than_the_watch(
    minutes: float, hang_s: float | None, expected_s: float
) -> None:
    strategy = DDPStrategy(timeout=timedelta(minutes=minutes))
    trainer = L.Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False)
    wait_longer_than(trainer, hang_s)
    assert strategy._timeout is not None
    assert strategy._timeout.total_seconds() == expected_s


def test_a_single_process_meets_and_leaves_nobody() -> None:
    meet_launched(L.Trainer(accelerator="cpu", devices=1, logger=False))
    assert meeting() is None
    assert leave(Stopped(signal.SIGTERM)) == 143
