"""Whole trainings and evaluations with `logger=wandb`, read back from disk; and what a W&B agent
would start.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from g2rpo import cli
from g2rpo.training.tracking.wandb_tracker import WandbTracker

SMALL = (
    "model=folder",
    "logger=wandb",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "rollout.max_new_tokens=6",
    "heldout.prompts_per_task=1",
    "heldout.samples=1",
    "filter=none",
    "reward_workers=inline",
    "logger.wandb.tables_every=1",
)
Read = Callable[[Path], list[Any]]


@pytest.fixture
def settings(composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """The configuration of a small run in `tmp_path`."""
    return lambda *options: composed(
        *SMALL, f"model.path={tiny_folder}", f"run_dir={tmp_path}", *options
    )


def test_a_run_and_its_resumption_are_one_run_with_the_numbers_of_metrics_csv(
    settings: Callable[..., Any], tmp_path: Path, offline_runs: Read
) -> None:
    cli.train(settings("trainer.max_steps=1"))
    resumed = settings("trainer.max_steps=2", f"resume={tmp_path}")
    cli.train(resumed)
    first, second = offline_runs(tmp_path)
    assert (first.id, first.job_type, first.exit_code, second.exit_code) == (
        second.id,
        "train",
        0,
        0,
    )
    with (tmp_path / "metrics.csv").open() as file:
        logged = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    rows = [row for run in (first, second) for row in run.history]
    assert [row["step"] for row in rows] == [0, 1, 2]
    shown = [
        {key: value for key, value in row.items() if not key.startswith("completions.")}
        for row in rows
    ]
    assert shown == logged
    assert {
        key: value for key, value in second.config.items() if key != "_wandb"
    } == OmegaConf.to_container(resumed, resolve=True)
    heldout = second.summary["run/heldout"]
    assert [rows[0]["val/macro"], rows[2]["val/macro"]] == [
        heldout["before"]["macro"],
        heldout["after"]["macro"],
    ]
    with (tmp_path / "completions.jsonl").open() as file:
        written = [yaml.safe_load(line) for line in file]
    shown = second.table(rows[2], "completions")
    assert shown
    for row in shown:
        assert any(
            all(_said(full, key) == row[key] for key in row if key != "image") for full in written
        )


def test_an_evaluation_is_a_run_of_its_own(
    settings: Callable[..., Any], tmp_path: Path, offline_runs: Read
) -> None:
    score = cli.evaluate(
        settings("eval=suite18", "eval.benchmarks=[ai2d]", "eval.rows=demo", "eval.limit=2")
    )
    (run,) = offline_runs(tmp_path)
    assert (run.job_type, run.exit_code, [row["step"] for row in run.history]) == (
        "evaluate",
        0,
        [0],
    )
    assert run.history[0]["benchmark/macro"] == run.history[0]["benchmark/score/ai2d"] == score
    (row,) = run.table(run.history[0], "benchmarks")
    assert (row["benchmark"], row["score"], row["rows_from"]) == ("ai2d", score, "demo")


def test_an_agent_starts_runs_that_compose_and_go_online(
    root: Path, composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = yaml.safe_load((root / "docs" / "wandb_sweep.yaml").read_text())
    chosen = {name: {"value": given["values"][-1]} for name, given in sweep["parameters"].items()}
    filled = create_sweep_command_args({"args": chosen}) | {
        "env": ["/usr/bin/env"],
        "interpreter": ["python"],
        "program": [sweep["program"]],
    }
    words = [
        word
        for part in create_sweep_command(sweep["command"])
        for word in filled.get(part[2:-1], [part])
    ]
    assert words[:3] == ["/usr/bin/env", "python", "train.py"]
    assert words[-2:] == ["advantage=grpo", "seed=2"]
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    overrides = [word for word in words[3:] if not word.startswith("hydra.")]
    (folder,) = [word.partition("=")[2] for word in words if word.startswith("hydra.run.dir=")]
    assert OmegaConf.create({"folder": folder}).folder == "outputs/agents/abc"
    cfg = composed(*overrides, "run_dir=there")
    assert (cfg.advantage._target_, cfg.seed, cfg.logger.wandb.offline) == (
        "g2rpo.algorithm.advantage.grpo.GRPO",
        2,
        False,
    )
    assert WandbTracker.__name__ in cfg.logger.wandb._target_
    assert sweep["metric"]["name"] == "val/macro"


def _said(full: dict[str, Any], column: str) -> Any:
    """What completions.jsonl says under a column of the table of completions."""
    noun, _, part = column.partition("/")
    return full["parts"][part] if part else full[noun]
