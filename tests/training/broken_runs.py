"""Starts a small run, kills it with all of its ranks, and starts it again in the same folder."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLOCKED = ("time/", "throughput/", "memory/")
"""Metrics that differ from run to run."""
LIMIT_S = 300


def start(folder: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a run of `experiment=smoke` in its folder, or resume it."""
    checkpoints = folder / "checkpoints"
    resumes = (checkpoints / "last.ckpt").exists() or list(checkpoints.glob(".last.ckpt.old"))
    where = f"resume={folder}" if resumes else f"hydra.run.dir={folder}"
    with log(folder).open("ab") as console:
        return subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "train.py"),
                "experiment=smoke",
                "heldout=none",
                "callbacks.checkpoint.every_n_train_steps=1",
                "trainer.accelerator=cpu",
                *words,
                where,
            ],
            start_new_session=True,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def log(folder: Path) -> Path:
    """Everything that the runs in a folder printed."""
    return folder.parent / f"{folder.name}.log"


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a run has ended without an error."""
    try:
        assert process.wait(timeout=LIMIT_S) == 0, log(folder).read_text()
    finally:
        end(process)


def kill(process: subprocess.Popen[bytes], folder: Path, *, in_save: bool, wait_s: float) -> None:
    """Kill all ranks after another step: `wait_s` later, or in the middle of the next save."""
    try:
        before, limit_s = len(rows(folder)), time.monotonic() + LIMIT_S
        while len(rows(folder)) <= before:
            assert process.poll() is None, log(folder).read_text()
            assert time.monotonic() < limit_s, log(folder).read_text()
            time.sleep(0.02)
        if in_save:
            while not list((folder / "checkpoints").glob(".*.new")):
                assert process.poll() is None, log(folder).read_text()
        else:
            time.sleep(wait_s)
        assert process.poll() is None, log(folder).read_text()
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill all ranks of a run, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.csv, without those columns that measure time or memory."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith(CLOCKED)}
            for row in csv.DictReader(file)
        ]
