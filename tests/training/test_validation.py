"""What a validation collects, names and logs."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo.benchmark.evaluation.suite import SuiteEvaluation
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import Prompt
from g2rpo.training.heldout import HeldoutBatch, HeldoutEvaluation, HeldoutResult
from g2rpo.training.validation import Validation, scores_row, validation_name


class Heldout(HeldoutEvaluation):
    """Scores a prompt by the number in its id, without an engine."""

    def score(
        self, engine: Any, encoder: Any, reward: Any, batch: HeldoutBatch, device: Any = "cpu"
    ) -> list[dict[str, Any]]:
        return [
            {
                "prompt_id": prompt.id,
                "task": prompt.task,
                "samples": [{"accuracy": float(prompt.answer)}, {"accuracy": 0.0}],
                "greedy": {"accuracy": float(prompt.answer)},
            }
            for prompt in batch.prompts
        ]


class Suite(SuiteEvaluation):
    def __init__(self) -> None:
        self.benchmarks = ()


class Trainer(L.Trainer):
    """What a validation looks at."""

    is_global_zero, global_step, max_steps, datamodule = True, 0, 0, None

    def __init__(self, step: int, max_steps: int, fn: TrainerFn) -> None:
        self.global_step, self.max_steps = step, max_steps
        self.state = SimpleNamespace(fn=fn)
        encoder = SimpleNamespace(fit=None)
        self.datamodule = SimpleNamespace(
            stream=SimpleNamespace(
                source=GymSource(), mix=SimpleNamespace(shares=dict.fromkeys(TASKS, 1.0))
            ),
            encoder=encoder,
        )


@pytest.mark.parametrize(
    ("step", "max_steps", "fn", "name"),
    [
        (0, 6, TrainerFn.VALIDATING, "before"),
        (6, 6, TrainerFn.VALIDATING, "after"),
        (3, 6, TrainerFn.VALIDATING, "after"),
        (3, 6, TrainerFn.FITTING, "step_3"),
        (6, 6, TrainerFn.FITTING, "after"),
        (3, -1, TrainerFn.FITTING, "step_3"),
    ],
)
def test_a_validation_is_named_by_when_it_happens(
    step: int, max_steps: int, fn: TrainerFn, name: str
) -> None:
    assert validation_name(Trainer(step, max_steps, fn)) == name


def test_scores_are_logged_by_task_and_nothing_without_held_out_prompts() -> None:
    result = HeldoutResult(
        sampled={"macro": 0.5, "math": 0.25, "chart": 0.75}, greedy={"macro": 0.625, "math": 1.0}
    )
    assert dict(scores_row(result)) == {
        "val/macro": 0.5,
        "val/greedy_macro": 0.625,
        "val/accuracy/math": 0.25,
        "val/accuracy/chart": 0.75,
    }
    empty = {"macro": math.nan}
    assert dict(scores_row(HeldoutResult(sampled=empty, greedy=empty))) == {}


def answered(validation: Validation, stubs: Any, *batches: tuple[list[int], list[str]]) -> None:
    for places, answers in batches:
        prompts = [
            Prompt(
                id=f"p{place}",
                task="math",
                text="?",
                images=(),
                answer=answer,
                answer_type="numerical",
            )
            for place, answer in zip(places, answers, strict=True)
        ]
        batch = HeldoutBatch(places=places, prompts=prompts)
        validation.answer(batch, **stubs, device=torch.device("cpu"))


def test_rows_are_written_in_the_order_of_the_prompts_and_each_validation_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted: Any, listed: Any, encoder: Any
) -> None:
    stubs = {"engine": scripted(lengths=[1]), "encoder": encoder, "reward": listed([1.0])}
    monkeypatch.setattr("g2rpo.training.validation.reader", lambda source, fit: list)
    validation = Validation(
        heldout=Heldout(prompts_per_task=1),
        suite=Suite(),
        model=Checkpoint(path="org/name"),
        folder=tmp_path,
    )
    for step, answers in ((2, ["1", "1", "0"]), (4, ["0", "0", "1"])):
        validation.begin()
        answered(validation, stubs, ([2, 0], answers[:2]), ([], []), ([1], answers[2:]))
        row = validation.finish(Trainer(step, 9, TrainerFn.FITTING))
        share = sum(map(int, answers)) / 3
        assert row["val/greedy_macro"] == pytest.approx(share)
        assert row["val/macro"] == pytest.approx(share / 2)
        lines = (tmp_path / "heldout" / f"step_{step}.jsonl").read_text().splitlines()
        assert [json.loads(line)["prompt_id"] for line in lines] == ["p0", "p1", "p2"]
    assert list(validation.results) == ["step_2", "step_4"]
    assert validation.spent_s > 0
