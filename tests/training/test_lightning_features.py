"""Lightning's own callbacks, loggers, schedulers and flags have their effect, through `conf/` and
through the command line.
"""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo import cli
from g2rpo.training.module import G2RPOModule

SMALL = (
    "model=folder",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "rollout.max_new_tokens=4",
    "heldout.prompts_per_task=1",
    "heldout.samples=1",
    "filter=none",
    "reward_workers=inline",
    "gradient_conflict=none",
    "task_mix=math",
)
Run = Callable[..., Path]


@pytest.fixture
def run(composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path) -> Run:
    """Trains with some overrides and returns the run folder."""

    def train(*overrides: str) -> Path:
        cli.train(composed(*SMALL, f"model.path={tiny_folder}", f"run_dir={tmp_path}", *overrides))
        return tmp_path

    return train


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


STOP_EARLY = {
    "conf": (
        "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=2",
    ),
    "by a number of the step": (
        "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.monitor=reward/total",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=100",
    ),
    "command line": (
        "+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping",
        "+callbacks.stop.monitor=val/macro",
        "+callbacks.stop.mode=max",
        "+callbacks.stop.patience=1",
        "+callbacks.stop.min_delta=2",
    ),
}


@pytest.mark.parametrize("way", STOP_EARLY)
def test_early_stopping_ends_training_when_validation_no_longer_improves(
    run: Run, way: str
) -> None:
    # no score improves by 2: the first validation sets the mark, the second exhausts the patience
    folder = run("trainer.max_steps=8", "trainer.val_check_interval=2", *STOP_EARLY[way])
    assert summary(folder)["steps"] == 4
    assert [row["step"] for row in metrics(folder) if row["val/macro"]] == ["0", "2", "4"]


KEEP_BEST = {
    "conf": ("callbacks=[default,best]",),
    "command line": (
        "+callbacks.mine._target_=lightning.pytorch.callbacks.ModelCheckpoint",
        "+callbacks.mine.monitor=val/macro",
        "+callbacks.mine.mode=max",
        "+callbacks.mine.dirpath=${run_dir}/checkpoints",
        "+callbacks.mine.filename='best-{step}'",
    ),
}


@pytest.mark.parametrize("way", KEEP_BEST)
def test_a_checkpoint_is_kept_by_its_validation_score(run: Run, way: str) -> None:
    folder = run("trainer.max_steps=4", "trainer.val_check_interval=2", *KEEP_BEST[way])
    (kept,) = (folder / "checkpoints").glob("best-*.ckpt")
    state = torch.load(kept, weights_only=False)
    scores = {row["step"]: float(row["val/macro"]) for row in metrics(folder) if row["val/macro"]}
    assert scores[str(state["global_step"])] == max(scores["2"], scores["4"])
    assert kept.name == f"best-step={state['global_step']}.ckpt"


LR_MONITOR = {
    "conf": "callbacks=[default,lr_monitor]",
    "command line": "+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor",
}


@pytest.mark.parametrize("way", LR_MONITOR)
def test_a_monitor_and_a_warm_up_see_every_update(run: Run, way: str) -> None:
    warmup = (
        "lr_scheduler=warmup",
        "lr_scheduler.num_warmup_steps=4",
        "optimizer.lr=0.004",
        "batch.num_minibatches=2",
    )
    rows = metrics(run("trainer.max_steps=4", LR_MONITOR[way], *warmup))
    # updates 1 to 4 use 0, 1/4, 2/4 and 3/4 of the rate; a row holds the mean of its two updates
    used = [
        (row["step"], row["rollout_batch"], float(row["optim/lr"]))
        for row in rows
        if row["optim/lr"]
    ]
    assert used == [("2", "1.0", pytest.approx(0.0005)), ("4", "2.0", pytest.approx(0.0025))]
    seen = {row["step"]: float(row["lr-AdamW"]) for row in rows if row["lr-AdamW"]}
    assert seen == {"0": 0.0, "2": pytest.approx(0.002)}
    assert [row["step"] for row in rows if row["val/macro"]] == ["0", "4"]


@pytest.mark.parametrize("scheduler", ["lr_scheduler=linear", "lr_scheduler=cosine"])
def test_a_schedule_falls_to_zero_at_the_last_update(run: Run, scheduler: str) -> None:
    rows = metrics(
        run(
            "trainer.max_steps=2",
            scheduler,
            "lr_scheduler.num_warmup_steps=0",
            "optimizer.lr=0.004",
            "heldout=none",
        )
    )
    assert [float(row["optim/lr"]) for row in rows if row["optim/lr"]] == pytest.approx(
        [0.004, 0.002]
    )


TENSORBOARD = {
    "conf": ("logger=[csv,tensorboard]",),
    "command line": (
        "+logger.tb._target_=lightning.pytorch.loggers.TensorBoardLogger",
        "+logger.tb.save_dir=${run_dir}/tensorboard",
        "+logger.tb.name=null",
        "+logger.tb.version=''",
    ),
}


@pytest.mark.parametrize("way", TENSORBOARD)
def test_tensorboard_shows_numbers_hyperparameters_completions_and_pictures(
    run: Run, way: str
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run("trainer.max_steps=2", *TENSORBOARD[way])
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    rewards = {str(event.step): event.value for event in found.Scalars("reward/total")}
    assert rewards == {
        row["step"]: pytest.approx(float(row["reward/total"]))
        for row in metrics(folder)
        if row["reward/total"]
    }
    assert [event.step for event in found.Scalars("val/macro")] == [0, 2]
    assert "completions/text_summary" in found.Tags()["tensors"]
    assert "prompts/math" in found.Tags()["images"]
    assert "task_mix" in (folder / "tensorboard" / "hparams.yaml").read_text()


MLFLOW = {
    "conf": ("logger=[csv,mlflow]",),
    "command line": (
        "+logger.ml._target_=lightning.pytorch.loggers.MLFlowLogger",
        "+logger.ml.tracking_uri=sqlite:///${run_dir}/mlflow.db",
        "+logger.ml.artifact_location=${run_dir}/mlflow",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", MLFLOW)
def test_mlflow_shows_numbers_hyperparameters_completions_and_pictures(run: Run, way: str) -> None:
    from mlflow.tracking import MlflowClient

    folder = run("trainer.max_steps=1", *MLFLOW[way])
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (found,) = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    assert found.data.params["seed"] == "0"
    assert [
        (point.step) for point in client.get_metric_history(found.info.run_id, "val/macro")
    ] == [0, 1]
    names = [path.name for path in (folder / "mlflow").rglob("step_*")]
    assert sorted(names) == ["step_000001.md", "step_000001_math.png"]


LIGHTNING_CSV = {
    "conf": ("logger=[csv,lightning_csv]",),
    "command line": (
        "+logger.own._target_=lightning.pytorch.loggers.CSVLogger",
        "+logger.own.save_dir=${run_dir}",
        "+logger.own.name=lightning",
        "+logger.own.version=''",
    ),
}


@pytest.mark.parametrize("way", LIGHTNING_CSV)
def test_lightnings_csv_logger_writes_the_same_numbers(run: Run, way: str) -> None:
    folder = run("trainer.max_steps=2", *LIGHTNING_CSV[way])
    with (folder / "lightning" / "metrics.csv").open(newline="") as file:
        theirs = {
            row["step"]: float(row["loss/policy"])
            for row in csv.DictReader(file)
            if row["loss/policy"]
        }
    assert theirs == {
        row["step"]: float(row["loss/policy"]) for row in metrics(folder) if row["loss/policy"]
    }
    assert "prompts_per_task" in (folder / "lightning" / "hparams.yaml").read_text()


def test_without_the_csv_choice_metrics_csv_is_written_all_the_same(run: Run) -> None:
    assert [
        row["step"] for row in metrics(run("trainer.max_steps=1", "logger=[lightning_csv]"))
    ] == ["0", "1"]


def test_limit_val_batches_asks_fewer_held_out_prompts(run: Run) -> None:
    folder = run("trainer.max_steps=1", "heldout.batch_prompts=2", "+trainer.limit_val_batches=1")
    assert [
        len((folder / "heldout" / f"{name}.jsonl").read_text().splitlines())
        for name in ("before", "after")
    ] == [2, 2]


def test_max_time_ends_training_early(run: Run) -> None:
    start_s = time.monotonic()
    folder = run(
        "trainer.max_steps=100000",
        "+trainer.max_time='00:00:00:03'",
        "heldout=none",
        "trainer.val_check_interval=100000",
    )
    assert time.monotonic() - start_s < 60
    assert 0 < summary(folder)["steps"] < 100000


def test_fast_dev_run_is_one_step_and_one_batch_of_validation_without_loggers(run: Run) -> None:
    folder = run("+trainer.fast_dev_run=true", "heldout.batch_prompts=2")
    assert summary(folder)["steps"] == 1
    assert [
        len((folder / "heldout" / f"{name}.jsonl").read_text().splitlines())
        for name in ("before", "after")
    ] == [2, 2]
    assert not (folder / "metrics.csv").exists()


def test_a_checkpoint_holds_the_configuration_and_rebuilds_the_module(run: Run) -> None:
    folder = run(
        "trainer.max_steps=1", "callbacks.checkpoint.every_n_train_steps=1", "optimizer.lr=0.01"
    )
    path = folder / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    assert saved["hyper_parameters"]["optimizer"]["lr"] == 0.01
    module = G2RPOModule.load_from_checkpoint(path)
    assert (module.rollout_batch, module.hparams["batch"]["group_size"]) == (1, 2)
    for name, value in module.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name])


def test_null_drops_a_callback(run: Run) -> None:
    folder = run("trainer.max_steps=1", "callbacks.run_files=null", "callbacks.completions=null")
    assert not (folder / "completions.jsonl").exists()
