"""Benchmarks in validation: when they are asked, what is logged, and which weights are kept."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo.benchmark.evaluation.suite import SuiteEvaluation
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training import benchmark_callback
from g2rpo.training.benchmark_callback import Benchmarks


class Suite(SuiteEvaluation):
    """One benchmark, whose score is the policy's only weight."""

    def __init__(self, *, benchmarks: tuple[str, ...] = ("chartqa",)) -> None:
        self.benchmarks = benchmarks
        self.asked: list[tuple[str, bool]] = []
        self.plans: list[int] = []

    def run(
        self,
        engine: Any,
        encoder: Any,
        folder: Path,
        *,
        model: Any,
        device: Any,
        progress_bar: Any,
        plans: Any,
        overwrite: bool,
    ) -> Any:
        self.asked.append((folder.name, overwrite))
        self.plans.append(id(plans))
        assert "weights" in model
        return {
            "chartqa": {"task": "chart", "score": float(engine.weight.detach()), "parse_rate": 0.5}
        }


class Trainer(L.Trainer):
    """What a callback looks at."""

    is_global_zero, global_step, max_steps, loggers, strategy, sanity_checking = (
        True,
        0,
        0,
        (),
        None,
        False,
    )
    callback_metrics: Any = None

    def __init__(self, max_steps: int) -> None:
        self.max_steps, self.strategy = max_steps, SimpleNamespace(barrier=lambda: None)
        self.callback_metrics = {}
        self.state = SimpleNamespace(fn=TrainerFn.FITTING)


class World:
    """A training in which the weight is the benchmark's score; one minus the weight is the held-out
    score.
    """

    def __init__(self, folder: Path, suite: Suite, *, max_steps: int = 5) -> None:
        self.policy = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.policy.weight)  # a random one may be the best score
        self.suite, self.folder = suite, folder
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.trainer = Trainer(max_steps)
        self.module = SimpleNamespace(
            policy=self.policy,
            engine=self.policy,
            encoder=None,
            device=torch.device("cpu"),
            log_scores=self.log_scores,
            generating=nullcontext,
            validation=SimpleNamespace(suite=suite, model=Checkpoint(path="org/name")),
        )
        self.callback = Benchmarks(folder=folder)

    def log_scores(self, row: dict[str, float]) -> None:
        self.rows.append((self.trainer.global_step, row))
        self.trainer.callback_metrics |= row

    def validate(self) -> None:
        self.callback.on_validation_epoch_start(self.trainer, self.module)
        self.trainer.callback_metrics["val/macro"] = 1 - float(self.policy.weight.detach())
        self.callback.on_validation_epoch_end(self.trainer, self.module)
        self.callback.on_validation_end(self.trainer, self.module)

    def train(self, *scores: float, start: int = 0, every: int = 2) -> None:
        self.trainer.global_step = start
        self.callback.on_train_start(self.trainer, self.module)
        for score in scores:
            self.trainer.global_step += 1
            with torch.no_grad():
                self.policy.weight.fill_(score)
            if (
                self.trainer.global_step % every == 0
                or self.trainer.global_step == self.trainer.max_steps
            ):
                self.validate()

    @property
    def best(self) -> dict[str, Any]:
        found = json.loads((self.folder / "checkpoints" / "best" / "best.json").read_text())
        return found | {
            "weight": float((self.folder / "checkpoints" / "best" / "weights").read_text())
        }


@pytest.fixture(autouse=True)
def weights_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(policy: Any, encoder: Any, folder: Path, dtype: str, extra: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "best.json").write_text(extra["best.json"])
        (folder / "weights").write_text(str(float(policy.weight.detach())))

    monkeypatch.setattr(benchmark_callback, "save_checkpoint", save)


def test_a_run_resumed_after_its_last_step_keeps_better_weights_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    World(tmp_path, Suite()).train(0.1, 0.9, 0.3, 0.4, 0.5)
    again = World(tmp_path, Suite())
    again.trainer.global_step = 5  # Lightning begins no training then
    again.validate()
    assert (again.best["step"], again.best["weight"]) == (2, pytest.approx(0.9))


def test_every_validation_has_a_folder_of_its_own_and_the_last_one_the_folder_of_the_run(
    tmp_path: Path,
) -> None:
    suite = Suite()
    World(tmp_path, suite).train(0.1, 0.2, 0.3, 0.4, 0.5)
    assert suite.asked == [("step_2", True), ("step_4", True), ("eval", True)]
    assert len(set(suite.plans)) == 1


def test_before_training_benchmarks_are_asked_only_on_request(tmp_path: Path) -> None:
    world = World(tmp_path, Suite())
    world.trainer.state.fn = TrainerFn.VALIDATING
    world.validate()
    assert (world.suite.asked, world.rows, list(tmp_path.iterdir())) == ([], [], [])
    world.callback.before = True
    world.validate()
    assert world.suite.asked == [
        ("eval", False)
    ]  # predictions of other settings are refused, not overwritten


def test_a_sanity_check_asks_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, Suite())
    world.trainer.sanity_checking = True
    world.validate()
    assert (world.suite.asked, world.rows, list(tmp_path.iterdir())) == ([], [], [])


def test_what_is_logged_belongs_to_its_step(tmp_path: Path) -> None:
    world = World(tmp_path, Suite(), max_steps=3)
    world.train(0.0, 0.25, 0.5)
    assert world.rows == [
        (
            2,
            {
                "benchmark/macro": 0.25,
                "benchmark/score/chartqa": 0.25,
                "benchmark/parse_rate/chartqa": 0.5,
            },
        ),
        (
            3,
            {
                "benchmark/macro": 0.5,
                "benchmark/score/chartqa": 0.5,
                "benchmark/parse_rate/chartqa": 0.5,
            },
        ),
    ]


def test_the_weights_with_the_highest_mean_over_benchmarks_are_kept(tmp_path: Path) -> None:
    world = World(tmp_path, Suite(), max_steps=7)
    world.train(0.9, 0.25, 0.9, 0.75, 0.9, 0.5, 0.625)
    # steps 2, 4, 6 and 7 are measured
    assert world.best == {"step": 4, "measure": "benchmark/macro", "score": 0.75, "weight": 0.75}
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best"]


def test_equal_scores_keep_the_earlier_weights(tmp_path: Path) -> None:
    world = World(tmp_path, Suite())
    world.train(0.0, 0.5, 0.0, 0.5)
    assert world.best["step"] == 2


def test_a_resumed_run_compares_with_its_own_best_and_a_new_one_does_not(tmp_path: Path) -> None:
    World(tmp_path, Suite()).train(0.0, 0.75)
    resumed = World(tmp_path, Suite())
    resumed.train(0.0, 0.5, start=2)
    assert (resumed.best["step"], resumed.best["score"]) == (2, 0.75)
    new = World(tmp_path, Suite())
    new.train(0.0, 0.25)
    assert (new.best["step"], new.best["score"]) == (2, 0.25)


def test_without_benchmarks_the_held_out_prompts_choose(tmp_path: Path) -> None:
    world = World(tmp_path, Suite(benchmarks=()))
    world.train(0.0, 0.25, 0.0, 0.75, 0.5)
    assert world.best == {"step": 2, "measure": "val/macro", "score": 0.75, "weight": 0.25}
    assert world.suite.asked == []


def test_nothing_is_kept_where_that_is_switched_off(tmp_path: Path) -> None:
    world = World(tmp_path, Suite())
    world.callback.keep_best = False
    world.train(0.0, 0.5)
    assert list(tmp_path.iterdir()) == []


def test_other_processes_ask_too(tmp_path: Path) -> None:
    suite = Suite()
    world = World(tmp_path, suite, max_steps=3)
    world.trainer.is_global_zero = False
    world.train(0.1, 0.2, 0.3)
    assert suite.asked == [("step_2", True), ("eval", True)]
