"""Whole runs with sharded weights have the numbers of runs with whole weights on every rank."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SMOKE = (
    "experiment=smoke",
    "shaping=entropy_bounded",
    "batch.micro_batch_prompts=1",
    "batch.num_minibatches=2",
    "trainer.accelerator=cpu",
    "trainer.max_steps=4",
    "heldout=few",
)
ESTIMATORS = sorted(path.stem for path in (ROOT / "conf" / "advantage").glob("*.yaml"))
TIMES = ("time/", "throughput/", "memory/")
NEAR = 2e-5


def run(folder: Path, *overrides: str) -> tuple[list[dict[str, str]], list[tuple[str, ...]]]:
    """Return the rows of metrics.csv and the completions in a fixed order."""
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", f"hydra.run.dir={folder}", *SMOKE, *overrides],
        cwd=folder.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = (folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    completions = [json.loads(line) for line in lines]
    return rows, sorted(
        (str(one["step"]), one["prompt_id"], one["completion"]) for one in completions
    )


@pytest.mark.parametrize(
    ("ranks", "more"),
    [
        pytest.param(2, (), id="2"),
        pytest.param(4, (), id="4"),
        pytest.param(2, ("model/adapter=lora",), id="lora"),
        *(
            pytest.param(2, (f"advantage={name}", "trainer.max_steps=2"), id=name)
            for name in ESTIMATORS
            if name != "g2rpo"
        ),
    ],
)
def test_sharded_weights_give_the_same_metrics_and_completions(
    ranks: int, more: tuple[str, ...], tmp_path: Path
) -> None:
    whole, sharded = (
        run(tmp_path / name, f"trainer={name}", f"trainer.devices={ranks}", *more)
        for name in ("ddp", "fsdp")
    )
    assert sharded[1] == whole[1]
    assert len(whole[1]) >= 16
    assert len(sharded[0]) == len(whole[0]) > 1
    for mine, expected in zip(*(rows for rows, _ in (sharded, whole)), strict=True):
        assert mine.keys() == expected.keys()
        for name, value in expected.items():
            if name.startswith(TIMES) or value == mine[name]:
                continue
            assert float(mine[name]) == pytest.approx(float(value), abs=NEAR), name
