"""Whole runs with `trainer=fsdp` on two ranks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.plain_values import split_tensors

pytestmark = [pytest.mark.process, pytest.mark.slow]


def train(root: Path, *overrides: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(root / "train.py"),
            "experiment=smoke",
            "heldout=none",
            "trainer=fsdp",
            "trainer.devices=2",
            "trainer.accelerator=cpu",
            "callbacks.checkpoint.every_n_train_steps=1",
            *overrides,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ("model/adapter=lora",),
        ("model.dtype=bfloat16", "optimizer=adamw_kahan", "optimizer.lr=1e-5"),
    ],
    ids=["lora", "adamw_kahan"],
)
def test_a_resumed_run_ends_as_an_unbroken_one(
    options: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(root, *options, "trainer.max_steps=3", f"hydra.run.dir={whole}")
    train(root, *options, "trainer.max_steps=1", f"hydra.run.dir={parts}")
    train(root, *options, "trainer.max_steps=3", f"resume={parts}")
    unbroken, resumed = (state(folder) for folder in (whole, parts))
    assert unbroken[0] == resumed[0]
    assert len(unbroken[1]) > 200
    for name, value in unbroken[1].items():
        assert torch.equal(value, resumed[1][name]), name
    for name in ("completions.jsonl", "checkpoints/final/model.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def state(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return what decides how a run goes on, as JSON and tensors."""
    found = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    wanted = ("state_dict", "optimizer_states", "g2rpo", "PromptDataModule", "adapter")
    return split_tensors({name: found[name] for name in wanted})
