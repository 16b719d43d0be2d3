"""A logger that fails in mid-run, or whose folder is removed, ends nothing; one that never worked
does.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger

from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.tracking.lost_logger import spared
from g2rpo.training.tracking.wandb_tracker import WandbTracker

NUMBERS = {"reward/total": 1.0}


KILLED = """
import logging, os, signal
from g2rpo.training.tracking.lost_logger import spared
from g2rpo.training.tracking.wandb_tracker import WandbTracker
logging.basicConfig()
logger = spared(WandbTracker(folder=".", project="p"), "logger.wandb")
logger.log_hyperparams({"seed": 0})
logger.log_metrics({"reward/total": 1.0}, 1)
logger.end_step()
for pid in open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split():
    os.kill(int(pid), signal.SIGKILL)
for step in range(2, 200):
    logger.log_metrics({"reward/total": 1.0}, step)
    logger.end_step()
logger.close({"steps": 3})
print("went on")
"""
"""A run whose W&B process is killed; in a process of its own, because all tests share that one."""


class Service(Logger):
    """Works until it is gone."""

    name, version = "service", "0"

    def __init__(self, *, gone: bool = False) -> None:
        super().__init__()
        self.gone, self.got = gone, 0

    def log_hyperparams(self, params: Any) -> None:
        self.log_metrics({}, 0)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if self.gone:
            raise ConnectionResetError("connection lost")
        self.got += 1


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_logger_that_fails_in_mid_run_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = spared(Service(), "logger.theirs")
    service.log_metrics(NUMBERS, 1)
    service.gone = True
    for step in range(2, 5):
        service.log_metrics(NUMBERS, step)
    service.gone = False
    service.log_metrics(NUMBERS, 5)
    assert service.got == 1
    (words,) = said(caplog)
    assert words.startswith("logger.theirs: ConnectionResetError: connection lost; it gets nothing")
    assert words.endswith("metrics.csv has all numbers")


def test_a_logger_that_never_worked_ends_the_run() -> None:
    with pytest.raises(ConnectionResetError, match="connection lost"):
        spared(Service(gone=True), "logger.theirs").log_hyperparams({})


def test_the_file_of_metrics_may_not_be_lost(tmp_path: Path) -> None:
    assert not hasattr(spared(MetricsCSV(folder=tmp_path), "logger.csv"), "watched")


@pytest.mark.parametrize(
    "kind",
    ["tensorboard", "lightning_csv", "wandb", pytest.param("mlflow", marks=pytest.mark.slow)],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.process
def test_the_removal_of_its_folder_is_said_once(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mlflow").mkdir()
    logger = spared(_made(kind, tmp_path), f"logger.{kind}")
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics(NUMBERS, 1)
    logger.save()
    caplog.clear()
    shutil.rmtree(tmp_path / kind)
    if kind == "wandb":
        shutil.rmtree(tmp_path / "wandb", ignore_errors=True)
    for step in range(2, 5):
        logger.log_metrics(NUMBERS, step)
        logger.save()
    logger.finalize("success")
    words = [line for line in said(caplog) if line.startswith(f"logger.{kind}: ")]
    assert len(words) == 1
    assert "metrics.csv has all numbers" in words[0]


@pytest.mark.slow
@pytest.mark.process
def test_the_death_of_the_process_of_wandb_is_said_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "went on\n"
    assert done.stderr.count("metrics.csv has all numbers") == 1


def _made(kind: str, folder: Path) -> Any:
    made: dict[str, Callable[[], Any]] = {
        "tensorboard": lambda: TensorBoardLogger(str(folder), name="tensorboard", version=""),
        "lightning_csv": lambda: CSVLogger(str(folder), name="lightning_csv", version=""),
        "wandb": lambda: WandbTracker(folder=folder, project="p"),
        "mlflow": lambda: MLFlowLogger("e", tracking_uri=f"sqlite:///{folder / 'mlflow'}/runs.db"),
    }
    return made[kind]()
