"""A run killed again and again, also in the middle of a save, ends as the unbroken run."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.plain_values import split_tensors

pytestmark = [pytest.mark.process, pytest.mark.slow]

STEPS = 14
TRAINERS = {
    "auto": ("trainer.accelerator=cpu",),
    "fsdp": ("trainer=fsdp", "trainer.devices=2", "trainer.accelerator=cpu"),
}
CLOCKED = ("time/", "throughput/", "memory/")
"""Metrics that differ from run to run."""


def start(root: Path, folder: Path, trainer: str) -> subprocess.Popen[bytes]:
    resumes = (folder / "checkpoints" / "last.ckpt").exists() or list(
        (folder / "checkpoints").glob(".last.ckpt.old")
    )
    where = f"resume={folder}" if resumes else f"hydra.run.dir={folder}"
    return subprocess.Popen(
        [
            sys.executable,
            str(root / "train.py"),
            "experiment=smoke",
            "heldout=none",
            f"trainer.max_steps={STEPS}",
            "callbacks.checkpoint.every_n_train_steps=1",
            *TRAINERS[trainer],
            where,
        ],
        start_new_session=True,
        stdout=(folder.parent / f"{folder.name}.log").open("ab"),
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def kill(process: subprocess.Popen[bytes], folder: Path, rng: random.Random, in_save: bool) -> bool:
    """Kill all ranks, some time after another step; return whether they were still running."""
    before, wait_s = rows(folder), rng.uniform(0.0, 2.0)
    while len(rows(folder)) <= len(before):
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    if in_save:
        while not list((folder / "checkpoints").glob(".*.new")):
            if process.poll() is not None:
                return False
    else:
        time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module", params=list(TRAINERS))
def ended(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """Folders of an unbroken run and of one that was killed ten times, four of them in a save."""
    out = tmp_path_factory.mktemp("runs")
    running = []
    try:
        for name in ("unbroken", "killed"):
            (out / name).mkdir()
        running.append(start(root, out / "unbroken", request.param))
        assert running[-1].wait(timeout=900) == 0, (out / "unbroken.log").read_text()
        rng, kills = random.Random(5), [True] * 4 + [False] * 6
        rng.shuffle(kills)
        for in_save in kills:
            running.append(start(root, out / "killed", request.param))
            assert kill(running[-1], out / "killed", rng, in_save), (out / "killed.log").read_text()
        running.append(start(root, out / "killed", request.param))
        assert running[-1].wait(timeout=900) == 0, (out / "killed.log").read_text()
        yield out / "unbroken", out / "killed"
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_all_tensors_are_equal(ended: tuple[Path, Path]) -> None:
    states = [read_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in ended]
    unbroken, killed = (
        split_tensors({k: state[k] for k in ("state_dict", "optimizer_states", "g2rpo")})
        for state in states
    )
    assert unbroken[0] == killed[0]
    assert len(unbroken[1]) > 400
    for name, value in unbroken[1].items():
        assert torch.equal(value, killed[1][name]), name
    data = [state["PromptDataModule"] for state in states]
    assert data[0] == data[1]
    final = [(f / "checkpoints" / "final" / "model.safetensors").read_bytes() for f in ended]
    assert final[0] == final[1]


def test_metrics_and_completions_are_equal(ended: tuple[Path, Path]) -> None:
    unbroken, killed = (
        [{k: v for k, v in row.items() if not k.startswith(CLOCKED)} for row in rows(folder)]
        for folder in ended
    )
    assert len(unbroken) == STEPS
    assert unbroken == killed
    completions = [(folder / "completions.jsonl").read_text() for folder in ended]
    assert completions[0] == completions[1]


def rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
