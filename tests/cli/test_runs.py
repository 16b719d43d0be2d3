"""Whole runs as a user starts them: what they write, and how a killed run is resumed."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.runs import LENGTH_PAYS, NO_HELDOUT, SMALL, json_lines, metrics, script, untimed
from omegaconf import OmegaConf
from report.pages import loaded, parsed

from g2rpo import cli
from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import metric_of
from g2rpo.policy.checkpoint import Checkpoint

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def finished(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps, started as a user starts it."""
    cwd = tmp_path_factory.mktemp("somewhere")
    done = script("train.py", *SMALL, f"model.path={tiny_folder}", "hydra.run.dir=run", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


def test_a_run_writes_one_row_of_declared_numbers_a_step(finished: Path) -> None:
    validated, *rows = metrics(finished)
    assert [row["step"] for row in (validated, *rows)] == ["0", "1", "2"]
    assert {name.partition("/")[0] for name, cell in validated.items() if cell} == {"step", "val"}
    columns = [name for name in rows[0] if name != "step"]
    assert {name for name in columns if metric_of(name).unit == ""} == set()
    # four prompts of six tasks a step: cells of a task that had none are empty, before its first
    # prompt and after its last
    completions = json_lines(finished / "completions.jsonl")
    for step, row in enumerate(rows, start=1):
        seen = {completion["task"] for completion in completions if completion["step"] == step}
        assert (
            {task for task in TASKS if row[f"reward/accuracy/{task}"]}
            == seen
            == {task for task in TASKS if row[f"advantage/std/{task}"]}
        )
        assert len(seen) == 4
    promised = ["reward/total", "loss/clip_frac", "time/step_s", "time/rollout_s", "time/update_s"]
    promised += [
        f"{name}/math"
        for name in (
            "reward/accuracy",
            "advantage/std",
            "policy/entropy_nats",
            "rollout/completion_tokens",
        )
    ]
    assert [name for name in promised if not math.isfinite(float(rows[0][name]))] == []


def test_a_run_writes_every_completion_with_its_verdict(finished: Path) -> None:
    rows = json_lines(finished / "completions.jsonl")
    assert [row["step"] for row in rows] == [1] * 8 + [2] * 8
    assert {tuple(row) for row in rows} == {
        (
            "step",
            "rollout_batch",
            "task",
            "prompt_id",
            "prompt",
            "answer",
            "completion",
            "reward",
            "accuracy",
            "format",
            "advantage",
            "completion_tokens",
            "finished",
            "ended_by",
            "parts",
        )
    }
    logged = [float(row["reward/total"]) for row in metrics(finished) if row["reward/total"]]
    means = [sum(row["reward"] for row in rows if row["step"] == step) / 8 for step in (1, 2)]
    assert means == pytest.approx(logged, abs=1e-6)
    assert all(1 <= row["completion_tokens"] <= 8 for row in rows)
    assert all(
        row["parts"]["accuracy"] == row["accuracy"] and {"format", "structure"} <= set(row["parts"])
        for row in rows
    )
    assert {path.stem for path in (finished / "images").iterdir()} == {
        row["prompt_id"].replace("/", "-") + "-0" for row in rows
    }


def test_a_run_says_once_that_its_completions_are_cut_and_which_key_to_raise(
    finished: Path,
) -> None:
    rows = json_lines(finished / "completions.jsonl")
    assert {row["ended_by"] == "length" for row in rows if not row["finished"]} == {True}
    assert (finished / "train.log").read_text().count(
        "of completions reached rollout.max_new_tokens=8 and were cut"
    ) == 1


def test_a_run_asks_the_same_unseen_prompts_before_and_after(finished: Path) -> None:
    before, after = (
        json_lines(finished / "heldout" / f"{when}.jsonl") for when in ("before", "after")
    )
    assert [row["prompt_id"] for row in before] == [row["prompt_id"] for row in after]
    assert sorted(row["task"] for row in before) == sorted([*TASKS, *TASKS])
    assert {row["prompt_id"] for row in before} & {
        row["prompt_id"] for row in json_lines(finished / "completions.jsonl")
    } == set()
    assert all(
        len(row["samples"]) == 4 and set(row["greedy"]) == set(row["samples"][0]) for row in before
    )
    assert len(list((finished / "heldout" / "images").glob("*.png"))) == 12


def test_a_run_ends_with_a_summary_of_the_promised_keys(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["steps"], summary["benchmarks"]) == ("finished", 2, {})
    for kind in ("heldout", "heldout_greedy"):
        assert {when: set(scores) for when, scores in summary[kind].items()} == {
            "before": {"macro", *TASKS},
            "after": {"macro", *TASKS},
        }
    assert {"setup", "heldout_before", "train", "heldout_after"} <= set(summary["stage_s"])
    assert sum(summary["prompts_drawn"].values()) == 8
    assert len(summary["config_hash"]) == 12
    assert "torch" in summary["versions"]


def test_a_run_leaves_its_configuration_a_report_and_weights_that_load(finished: Path) -> None:
    assert OmegaConf.load(finished / ".hydra" / "config.yaml").rollout.max_new_tokens == 8
    page = parsed((finished / "report.html").read_text())
    assert loaded(page) == []
    assert len(page.one("section", id="training").all("img")) >= 2
    final = Checkpoint(path=str(finished / "checkpoints" / "final"))
    assert final.policy().config.model_type == "qwen3_vl"
    assert final.encoder().eos_token_id is not None
    assert (finished / "checkpoints" / "last.ckpt").is_file() or not list(
        (finished / "checkpoints").glob("*.ckpt")
    )
    assert not (finished / "error.txt").exists()
    assert list(finished.rglob("*.part")) == []


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(
    finished: Path, train: Callable[..., Path]
) -> None:
    assert untimed(train(folder="again")) == untimed(finished)
    assert untimed(train("seed=1", NO_HELDOUT, folder="other")) != untimed(finished)


def test_a_killed_and_resumed_run_has_the_numbers_of_the_unbroken_one(
    train: Callable[..., Path], tiny_folder: Path, plug_ins: Path, tmp_path: Path
) -> None:
    # ema_grpo remembers rewards, so its memory has to survive too; the process dies in its third
    # step
    options = (
        "advantage=ema_grpo",
        "trainer.max_steps=4",
        "callbacks.checkpoint.every_n_train_steps=1",
        NO_HELDOUT,
        *LENGTH_PAYS,
    )
    unbroken, killed = train(*options, folder="unbroken"), tmp_path / "killed"
    dies = (
        "rollout._target_=misbehaving.SwitchedOff",
        "+rollout.dies_in_step=3",
        f"hydra.run.dir={killed}",
    )
    done = script("train.py", *SMALL, f"model.path={tiny_folder}", *options, *dies, path=plug_ins)
    assert done.returncode == 9, done.stderr
    assert [row["step"] for row in metrics(killed)] == ["1", "2"]
    assert not (killed / "summary.json").exists()
    resumed = train(*options, f"resume={killed}", folder="killed")
    assert untimed(resumed) == untimed(unbroken)
    assert len({row["advantage/std/math"] for row in untimed(unbroken)}) > 1
    assert json_lines(resumed / "completions.jsonl") == json_lines(unbroken / "completions.jsonl")
    one, other = (
        json.loads((folder / "summary.json").read_text()) for folder in (unbroken, resumed)
    )
    assert (one["steps"], one["prompts_drawn"], one["config_hash"]) == (
        other["steps"],
        other["prompts_drawn"],
        other["config_hash"],
    )


def test_a_kl_term_loads_a_reference_and_a_run_without_one_does_not(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    reference = Checkpoint.reference
    monkeypatch.setattr(
        Checkpoint,
        "reference",
        lambda self, policy: loaded.append(self.path) or reference(self, policy),
    )
    train(NO_HELDOUT, "trainer.max_steps=1", folder="without")
    assert loaded == []
    rows = metrics(train(NO_HELDOUT, "loss.kl_coef=0.1", "optimizer.lr=1e-2", *LENGTH_PAYS))
    assert len(loaded) == 1
    assert float(rows[0]["loss/kl"]) == pytest.approx(0.0, abs=1e-7)
    assert float(rows[1]["loss/kl"]) > 1e-4


def test_evaluate_scores_a_checkpoint_without_training_it(
    finished: Path, train: Callable[..., Path]
) -> None:
    folder = train(f"model.path={finished / 'checkpoints' / 'final'}", entry=cli.evaluate)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 0)
    after = json.loads((finished / "summary.json").read_text())["heldout"]["after"]
    assert summary["heldout"]["after"] == pytest.approx(after, abs=1e-6)
    assert [row["step"] for row in metrics(folder)] == [
        "0"
    ]  # an evaluation is a validation before the first step


@pytest.mark.slow
def test_two_processes_train_and_one_writes(tiny_folder: Path, tmp_path: Path) -> None:
    options = [
        "trainer=ddp",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
        "hydra.run.dir=run",
        f"model.path={tiny_folder}",
    ]
    done = script("train.py", *SMALL, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == [
            str(step) for step in range(summary["steps"] + 1)
        ]
    drawn = [
        json.loads(line)["prompt_id"]
        for line in (tmp_path / "run" / "completions.jsonl").read_text().split("\n")
        if line
    ]
    assert len(set(drawn)) > summary["steps"]
    assert not list((tmp_path / "run").glob("error*"))


def test_a_run_whose_report_fails_is_not_finished(
    train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr("g2rpo.report.run_page.write_report", broken)
    with pytest.raises(SystemExit):
        train("trainer.max_steps=1", NO_HELDOUT, folder="unreported")
    assert not (tmp_path / "unreported" / "summary.json").exists()
