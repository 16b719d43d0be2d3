"""Whole runs with `trainer=fsdp` on two ranks."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_server import FakeServer

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.plain_values import split_tensors

pytestmark = [pytest.mark.process, pytest.mark.slow]
STEPS = 4
"""Of the run that writes ahead."""


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


def test_a_run_that_writes_ahead_goes_on_with_the_prompts_in_flight(
    root: Path, tmp_path: Path
) -> None:
    """Each rank has a look-ahead of its own; the ranks gather the weights for the server."""
    server = FakeServer.reading_like(
        Checkpoint.packaged(name="tiny_qwen3_vl", dtype="float32").encoder()
    )
    ahead = (
        f"trainer.max_steps={STEPS}",
        "filter=none",
        "reward_workers=inline",
        "rollout=vllm_server",
        f"rollout.urls=[{server.url}]",
        "rollout.ahead=1",
        "rollout.max_sync_gap=1e9",  # the stand-in invents its log-probabilities
        "loss.rejection.min_ess_frac=0",
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    last = "checkpoints/last.ckpt"
    try:
        train(root, *ahead, "+callbacks.checkpoint.save_top_k=-1", f"hydra.run.dir={whole}")
        shutil.copytree(whole, parts)
        shutil.rmtree(parts / last)
        shutil.copytree(whole / "checkpoints" / "step=2.ckpt", parts / last)  # as after a kill
        in_flight = read_checkpoint(parts / last)["PromptDataModule"]["reserved"]
        assert [len(turns) for turns in in_flight] == [6]
        train(root, *ahead, f"resume={parts}")
    finally:
        server.close()
    assert ledger(parts) == ledger(whole)
    assert set(Counter(ledger(parts)).values()) == {4}  # each prompt once, with its whole group
    assert len(set(ledger(parts))) == STEPS * 6
    header, *rows = csv.reader((parts / "metrics.csv").read_text().splitlines())
    ages = [i for i, name in enumerate(header) if name.startswith("staleness/max/")]
    assert {float(row[i]) for row in rows for i in ages if row[i]} == {0.0, 1.0}


def ledger(folder: Path) -> list[tuple[int, str]]:
    """Return step and prompt of each completion that was learned from."""
    lines = (folder / "completions.jsonl").read_text().splitlines()
    return [(found["step"], found["prompt_id"]) for found in map(json.loads, lines)]
