"""What a run writes for W&B, read back from the offline file and compared with what was logged."""

import csv
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.algorithm.shaping.length import LengthBand
from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import METRICS
from g2rpo.records import Experience, Prompt, PromptBatch, Rollouts, Scores
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.tracking.callback import TrackedSteps
from g2rpo.training.tracking.wandb_tracker import STAGING, WandbTracker

Read = Callable[[Path], list[Any]]
SHAPING = Shaping(
    length=LengthBand(
        bands={"chart": [5, 10, 20, 40], "default": None}, weight=0.1, min_accuracy=0.5
    ),
    entropy=EntropyBand(low=0.25, high={"math": 0.75}, weight=0.02),
).for_tasks(TASKS)
BANDS = {f"shaping/entropy_low_nats/{task}": 0.25 for task in TASKS} | {
    "shaping/entropy_high_nats/math": 0.75,
    "shaping/length_low_tokens/chart": 10.0,
    "shaping/length_high_tokens/chart": 20.0,
}


def experience(step: int) -> Experience:
    """Two prompts, a chart with a large picture and a sum without one, answered three times
    each.
    """
    prompts = (
        Prompt(
            id=f"chart/{step}",
            task="chart",
            text="Read it.",
            images=(Image.new("RGB", (400, 100), (200, step, 0)),),
            answer="7",
            answer_type="numerical",
        ),
        Prompt(
            id=f"math/{step}",
            task="math",
            text="Add.",
            images=(),
            answer="3",
            answer_type="numerical",
        ),
    )
    batch = PromptBatch(
        prompts=prompts,
        input_ids=torch.zeros(2, 1, dtype=torch.long),
        attention_mask=torch.ones(2, 1, dtype=torch.long),
        num_images=torch.tensor([1, 0]),
        position=torch.arange(2),
    )
    rollouts = Rollouts(
        completion_ids=torch.zeros(6, 4, dtype=torch.long),
        completion_mask=torch.arange(4) < torch.tensor([[1], [2], [3], [4], [1], [2]]),
        old_logprobs=torch.zeros(6, 4),
        prompt=torch.tensor([0, 0, 0, 1, 1, 1]),
        finished=torch.ones(6, dtype=torch.bool),
        texts=("a", "b", "c", "d" * 5000, "e", "f"),
    )
    return Experience(
        batch=batch,
        rollouts=rollouts,
        task=torch.tensor([2, 2, 2, 1, 1, 1]),
        scores=Scores(
            total=torch.zeros(6), parts={"accuracy": torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0, 0.0])}
        ),
        rewards=torch.tensor([0.0, 1.5, 0.5, 1.25, 0.25, 0.0]),
        advantages=torch.tensor([-1.0, 1.0, 0.0, 1.25, 0.25, -1.5]),
    )


class Trainer(L.Trainer):
    """Counts the steps of a training that does not happen."""

    global_step = 0


def train(
    folder: Path, steps: range, *, benchmarks_after: int | None = None, **options: Any
) -> WandbTracker:
    """The calls that a training makes in these steps: metrics to both loggers, then the
    callback.
    """
    loggers = [MetricsCSV(folder=folder), WandbTracker(folder=folder, project="tests", **options)]
    trainer = Trainer(
        logger=loggers,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = SimpleNamespace(
        algorithm=SimpleNamespace(shaping=SHAPING, tasks=TASKS),
        rollout_batch=steps.start - 1,
    )
    callback = TrackedSteps()
    callback.on_train_start(trainer, module)
    for step in steps:
        callback.on_train_batch_start(trainer, module, None, 0)
        row = {"reward/total": 0.1 * step, "loss/kl": 1 / step} | (
            {"gradient/cosine/math/chart": -0.5} if step == 2 else {}
        )
        module.rollout_batch = Trainer.global_step = step
        for logger in loggers:
            logger.log_metrics(row, step=step)
        callback.on_train_batch_end(trainer, module, {"experience": experience(step)}, None, 0)
        if step == benchmarks_after:
            for logger in loggers:
                logger.log_metrics(
                    {"benchmark/macro": 0.75, "benchmark/score/ai2d": 0.75}, step=step
                )
            loggers[1].log_benchmarks({"ai2d": ENTRY}, step)
    return loggers[1]


ENTRY = {
    "task": "chart",
    "score": 0.75,
    "low": 0.5,
    "high": 0.875,
    "parse_rate": 1.0,
    "rows": 8,
    "protocol": "paper",
    "judge": None,
    "rows_from": "demo",
    "subscores": {},
}


@pytest.fixture(autouse=True)
def _environment_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    before = os.environ.get(STAGING)
    yield
    assert os.environ.get(STAGING) == before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three steps, benchmarks after the last."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    tracker = train(folder, range(1, 4), benchmarks_after=3, tables_every=2)
    tracker.log_hyperparams(
        {"seed": 3, "advantage": {"_target_": "x.Y", "scale": 0.5}, "none": None}
    )
    tracker.close({"heldout": {"after": {"macro": 0.5}}, "steps": 3})
    return folder


def test_history_is_metrics_csv_and_the_bands(folder: Path, offline_runs: Read) -> None:
    (run,) = offline_runs(folder)
    with (folder / "metrics.csv").open() as file:
        logged = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    assert len(logged) == 3
    assert [
        {
            key: value
            for key, value in row.items()
            if not key.startswith(("completions.", "benchmarks."))
        }
        for row in run.history
    ] == [row | BANDS for row in logged]


def test_every_metric_is_defined_over_steps_with_its_summary(
    folder: Path, offline_runs: Read
) -> None:
    (run,) = offline_runs(folder)
    for metric in METRICS:
        several = metric.per_task or metric.per_pair or metric.per_benchmark
        defined = run.definitions[f"{metric.name}/*" if several else metric.name]
        assert (
            defined.step_metric,
            [field.name for field, value in defined.summary.ListFields() if value],
        ) == ("step", [metric.summary])
    assert run.definitions["step"].options.hidden


def test_the_summary_holds_the_defined_values_and_summary_json(
    folder: Path, offline_runs: Read
) -> None:
    (run,) = offline_runs(folder)
    assert run.summary["reward/total"] == {"max": pytest.approx(0.3)}
    assert run.summary["loss/kl"] == {"last": pytest.approx(1 / 3)}
    assert run.summary["run/heldout"] == {"after": {"macro": 0.5}}


@pytest.mark.process
def test_configuration_git_state_and_code_are_there(
    folder: Path, root: Path, offline_runs: Read
) -> None:
    (run,) = offline_runs(folder)
    assert {key: value for key, value in run.config.items() if key != "_wandb"} == {
        "seed": 3,
        "advantage": {"_target_": "x.Y", "scale": 0.5},
        "none": None,
    }
    here = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path.cwd(), capture_output=True, text=True, check=False
    ).stdout.strip()
    assert run.commit == here
    (code,) = [files for name, files in run.artifacts if name == "source-tests"]
    assert code["metrics.py"].read_text() == (root / "src" / "g2rpo" / "metrics.py").read_text()
    assert not [name for name in code if name.endswith((".pyc", ".safetensors"))]


def test_a_table_holds_the_best_and_the_worst_of_each_task_of_its_step(
    folder: Path, offline_runs: Read
) -> None:
    (run,) = offline_runs(folder)
    rows = {
        int(row["step"]): run.table(row, "completions")
        for row in run.history
        if "completions.path" in row
    }
    assert sorted(rows) == [1, 3]
    shown = [
        (
            row["task"],
            row["prompt_id"],
            row["completion"][:2],
            row["accuracy"],
            row["reward"],
            row["advantage"],
        )
        for row in rows[3]
    ]
    assert shown == [
        ("math", "math/3", "dd", 1.0, 1.25, 1.25),
        ("math", "math/3", "f", 0.0, 0.0, -1.5),
        ("chart", "chart/3", "b", 1.0, 1.5, 1.0),
        ("chart", "chart/3", "a", 0.0, 0.0, -1.0),
    ]
    assert [row["completion_tokens"] for row in rows[3]] == [4, 2, 2, 1]
    assert rows[3][0]["completion"].endswith("... (1000 more characters)")
    assert [row["answer"] for row in rows[1]] == ["3", "3", "7", "7"]


def test_pictures_of_a_table_are_small_and_lie_in_the_run_folder(
    folder: Path, offline_runs: Read
) -> None:
    (run,) = offline_runs(folder)
    tables = [files for name, files in run.artifacts if name.endswith("-completions")]
    assert len(tables) == 2
    for files in tables:
        (table,) = [
            json.loads(file.read_text())
            for path, file in files.items()
            if path.endswith(".table.json")
        ]
        place = table["columns"].index("image")
        assert [row[place] is None for row in table["data"]] == [True, True, False, False]
        with Image.open(files[table["data"][2][place]["path"]]) as picture:
            assert picture.size == (256, 64)
    assert [
        file for _, files in run.artifacts for file in files.values() if folder not in file.parents
    ] == []


def test_benchmarks_after_a_step_belong_to_its_row_and_are_a_table(
    folder: Path, offline_runs: Read
) -> None:
    (run,) = offline_runs(folder)
    assert [row["benchmark/macro"] for row in run.history if "benchmark/macro" in row] == [0.75]
    assert run.history[-1]["step"] == 3
    (row,) = run.table(run.history[-1], "benchmarks")
    assert row == {"step": 3, "benchmark": "ai2d"} | {
        key: value for key, value in ENTRY.items() if key != "subscores"
    }


def test_a_resumed_run_goes_on_in_the_same_run(tmp_path: Path, offline_runs: Read) -> None:
    train(tmp_path, range(1, 3)).finalize("failed")
    time.sleep(1.1)  # W&B names folders by the second
    train(tmp_path, range(3, 4), resume=str(tmp_path)).close({})
    killed, resumed = offline_runs(tmp_path)
    assert killed.id == resumed.id
    assert [[row["step"] for row in run.history] for run in (killed, resumed)] == [[1, 2], [3]]
    assert (killed.exit_code, resumed.exit_code) == (1, 0)


def test_a_new_run_in_an_old_folder_is_a_new_run(tmp_path: Path, offline_runs: Read) -> None:
    for _ in range(2):
        train(tmp_path, range(1, 2)).close({})
    first, second = offline_runs(tmp_path)
    assert first.id != second.id


def test_a_multirun_is_one_group(tmp_path: Path, offline_runs: Read) -> None:
    job = tmp_path / "paper_ablation" / "3"
    job.mkdir(parents=True)
    (tmp_path / "paper_ablation" / "multirun.yaml").touch()
    tracker = WandbTracker(folder=job, project="tests")
    tracker.job_type = "evaluate"
    tracker.log_metrics({"val/macro": 0.5}, step=0)
    tracker.close({})
    (run,) = offline_runs(job)
    assert (run.group, run.job_type, run.name) == ("paper_ablation", "evaluate", "paper_ablation/3")
    assert run.history == [{"step": 0, "val/macro": 0.5}]


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    tracker = WandbTracker(folder=tmp_path, project="tests")
    tracker.log_hyperparams({"seed": 1})
    tracker.log_metrics({"reward/total": 1.0}, step=1)
    tracker.log_completions(experience(1), 1, 1)
    tracker.end_step()
    tracker.close({})
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_not_declared_is_logged_all_the_same(
    tmp_path: Path, offline_runs: Read
) -> None:
    tracker = WandbTracker(folder=tmp_path, project="tests")
    tracker.log_metrics({"reward/totall": 0.5}, step=1)
    tracker.close({})
    (run,) = offline_runs(tmp_path)
    assert run.history == [{"step": 1, "reward/totall": 0.5}]


@pytest.mark.parametrize(
    ("key", "value"), [("tables_every", 0), ("rows_per_task", -1), ("image_px", 15)]
)
def test_a_number_out_of_range_is_refused_with_its_key(
    key: str, value: int, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=rf"logger\.wandb\.{key}: expected at least \d+, got {value}"
    ):
        WandbTracker(folder=tmp_path, project="tests", **{key: value})
