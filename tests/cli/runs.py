"""Helpers for tests of whole runs: small options, the programs, and what a run writes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from default_signals import hear_all

ROOT = Path(__file__).parents[2]
SMALL = (
    "model=folder",
    "trainer.max_steps=2",
    "batch.prompts_per_step=4",
    "batch.group_size=2",
    "rollout.max_new_tokens=8",
    "heldout.prompts_per_task=2",
    "filter=none",
    "reward_workers.workers=1",
)

NO_HELDOUT = "heldout.prompts_per_task=0"
LENGTH_PAYS = ("~reward", "+reward={_target_: strange_rewards.LengthPays}")


def script(
    name: str, *options: str, path: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a program of the repository in a process of its own; `path` is added to PYTHONPATH."""
    env = os.environ | (
        {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))}
        if path
        else {}
    )
    return subprocess.run(
        [sys.executable, str(ROOT / name), *options],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        preexec_fn=hear_all,
    )


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def untimed(folder: Path) -> list[dict[str, str]]:
    return [
        {name: cell for name, cell in row.items() if not name.startswith("time/")}
        for row in metrics(folder)
    ]


def json_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
