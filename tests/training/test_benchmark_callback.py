"""Benchmarks in training: when they are asked, what is logged, and which weights are kept."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch

from g2rpo.evaluation.suite import SuiteEvaluation
from g2rpo.metrics import checked
from g2rpo.training import benchmark_callback
from g2rpo.training.benchmark_callback import BenchmarkCallback


class Suite(SuiteEvaluation):
    """One benchmark, whose score is the policy's only weight."""

    def __init__(self, *, benchmarks: tuple[str, ...] = ("chartqa",), every_n_steps: int | None = 2) -> None:
        self.benchmarks, self.every_n_steps = benchmarks, every_n_steps
        self.asked: list[tuple[str, bool]] = []
        self.plans: list[int] = []

    def run(self, engine: Any, encoder: Any, folder: Path, *, model: Any, device: Any, stage: Any, plans: Any, overwrite: bool) -> Any:
        self.asked.append((folder.name, overwrite))
        self.plans.append(id(plans))
        assert set(model) == {"model.max_pixels", "weights"}
        score = float(engine.weight.detach())
        return {"chartqa": {"task": "chart", "score": score, "parse_rate": 0.5}}


class Logger:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, checked(metrics)))


class Trainer(L.Trainer):
    """What a callback looks at."""

    is_global_zero, global_step, max_steps, loggers, strategy = True, 0, 0, (), None

    def __init__(self, logger: Logger, max_steps: int) -> None:
        self.loggers, self.max_steps, self.strategy = [logger], max_steps, SimpleNamespace(barrier=lambda: None)


class World:
    def __init__(self, folder: Path, suite: Suite, *, max_steps: int = 5, heldout: Callable[..., float] | None = None) -> None:
        self.policy = torch.nn.Linear(1, 1, bias=False)
        self.logger, self.suite, self.folder = Logger(), suite, folder
        self.trainer = Trainer(self.logger, max_steps)
        self.module = SimpleNamespace(steps_done=0, policy=self.policy, engine=self.policy, encoder=None, device=torch.device("cpu"))
        self.callback = BenchmarkCallback(
            suite=suite, folder=folder, model={"model.max_pixels": None}, dtype="float32", heldout=heldout or (lambda module, name: 0.0)
        )

    def train(self, *scores: float, start: int = 0) -> None:
        self.module.steps_done = self.trainer.global_step = start
        self.callback.on_train_start(self.trainer, self.module)
        for score in scores:
            self.module.steps_done += 1
            self.trainer.global_step += 1
            with torch.no_grad():
                self.policy.weight.fill_(score)
            self.callback.on_train_batch_end(self.trainer, self.module, None, None, 0)
        self.callback.on_train_end(self.trainer, self.module)

    @property
    def best(self) -> dict[str, Any]:
        found = json.loads((self.folder / "checkpoints" / "best" / "best.json").read_text())
        return found | {"weight": float((self.folder / "checkpoints" / "best" / "weights").read_text())}


@pytest.fixture(autouse=True)
def weights_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(policy: Any, encoder: Any, folder: Path, dtype: str) -> None:
        folder.mkdir(parents=True)
        (folder / "weights").write_text(str(float(policy.weight.detach())))

    monkeypatch.setattr(benchmark_callback, "save_checkpoint", save)


def test_every_n_steps_and_at_the_end_each_in_a_folder_of_its_own(tmp_path: Path) -> None:
    suite = Suite()
    World(tmp_path, suite).train(0.1, 0.2, 0.3, 0.4, 0.5)
    assert suite.asked == [("step_2", True), ("step_4", True), ("eval", True)]
    assert len(set(suite.plans)) == 1


def test_a_last_step_that_is_due_is_asked_once(tmp_path: Path) -> None:
    suite = Suite()
    World(tmp_path, suite, max_steps=4).train(0.1, 0.2, 0.3, 0.4)
    assert suite.asked == [("step_2", True), ("eval", True)]


def test_what_is_logged_is_declared_and_belongs_to_its_step(tmp_path: Path) -> None:
    world = World(tmp_path, Suite())
    world.train(0.0, 0.25, 0.5)
    assert world.logger.rows == [
        (1, {"benchmark/macro": 0.25, "benchmark/score/chartqa": 0.25, "benchmark/parse_rate/chartqa": 0.5}),
        (2, {"benchmark/macro": 0.5, "benchmark/score/chartqa": 0.5, "benchmark/parse_rate/chartqa": 0.5}),
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


def test_without_benchmarks_the_held_out_prompts_choose_where_a_rhythm_is_set(tmp_path: Path) -> None:
    names: list[str] = []

    def heldout(module: Any, name: str) -> float:
        names.append(name)
        return 1 - float(module.policy.weight.detach())

    world = World(tmp_path, Suite(benchmarks=()), heldout=heldout)
    world.train(0.0, 0.25, 0.0, 0.75, 0.5)
    assert names == ["step_2", "step_4", "step_5"]
    assert world.best == {"step": 2, "measure": "heldout/macro", "score": 0.75, "weight": 0.25}
    assert world.logger.rows[0] == (1, {"heldout/macro": 0.75})


def test_without_benchmarks_and_rhythm_nothing_is_measured(tmp_path: Path) -> None:
    World(tmp_path, Suite(benchmarks=(), every_n_steps=None), heldout=lambda module, name: pytest.fail("asked")).train(0.5, 0.5)
    assert list(tmp_path.iterdir()) == []


def test_other_processes_ask_but_write_nothing(tmp_path: Path) -> None:
    suite = Suite()
    world = World(tmp_path, suite)
    world.trainer.is_global_zero = False
    world.train(0.1, 0.2)
    assert suite.asked == [("step_2", True), ("eval", True)]
    assert world.logger.rows == []
    assert not (tmp_path / "checkpoints").exists()
