"""Completions and pictures that TensorBoard and MLflow get."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from PIL import Image

from g2rpo.records import Experience, Prompt, PromptBatch, Rollouts, Scores
from g2rpo.training.tracking.samples import show_completions
from g2rpo.training.tracking.table_rows import completion_rows


class Calls:
    """Records every method call with its arguments."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self.made.append((name, *args, *options.values()))


class TensorBoard(TensorBoardLogger):
    experiment = None

    def __init__(self) -> None:
        self.experiment = Calls()


class MLflow(MLFlowLogger):
    experiment, run_id = None, "run"

    def __init__(self) -> None:
        self.experiment = Calls()


def experience() -> Experience:
    """A chart prompt with a picture and a sum without one, answered three times each."""
    pictures = {"chart": (Image.new("RGB", (400, 100), (200, 0, 0)),), "math": ()}
    prompts = tuple(
        Prompt(
            id=task,
            task=task,
            text=f"{task}?",
            images=pictures[task],
            answer="7",
            answer_type="numerical",
        )
        for task in ("chart", "math")
    )
    batch = PromptBatch(
        prompts=prompts,
        input_ids=torch.zeros(2, 1, dtype=torch.long),
        attention_mask=torch.ones(2, 1, dtype=torch.long),
        num_images=torch.tensor([1, 0]),
        position=torch.arange(2),
    )
    rollouts = Rollouts(
        completion_ids=torch.zeros(6, 1, dtype=torch.long),
        completion_mask=torch.ones(6, 1, dtype=torch.bool),
        old_logprobs=torch.zeros(6, 1),
        prompt=torch.tensor([0, 0, 0, 1, 1, 1]),
        finished=torch.ones(6, dtype=torch.bool),
        texts=("a", "b|c\nd", "middle", "e", "middle", "f"),
    )
    advantages = torch.tensor([-1.0, 1.0, 0.0, 1.25, 0.25, -1.5])
    return Experience(
        batch=batch,
        rollouts=rollouts,
        task=torch.tensor([2, 2, 2, 1, 1, 1]),
        scores=Scores(total=advantages, parts={"accuracy": torch.tensor([0.0, 1, 0.5, 1, 0, 0])}),
        rewards=advantages + 2,
        advantages=advantages,
    )


TABLE = """\
| task | prompt | answer | completion | accuracy | reward | advantage |
| --- | --- | --- | --- | --- | --- | --- |
| math | math? | 7 | e | 1.000 | 3.250 | 1.250 |
| math | math? | 7 | f | 0.000 | 0.500 | -1.500 |
| chart | chart? | 7 | b\\|c<br>d | 1.000 | 3.000 | 1.000 |
| chart | chart? | 7 | a | 0.000 | 1.000 | -1.000 |"""


def test_tensorboard_gets_the_best_and_the_worst_completion_and_one_small_picture_a_task() -> None:
    logger = TensorBoard()
    show_completions([logger], experience(), 12, per_task=2, image_px=64)
    text, picture = logger.experiment.made
    assert text == ("add_text", "completions", TABLE, 12)
    assert (picture[:2], picture[3:]) == (("add_image", "prompts/chart"), (12, "HWC"))
    np.testing.assert_array_equal(picture[2], np.full((16, 64, 3), (200, 0, 0), np.uint8))


def test_mlflow_gets_the_same_as_files_named_by_step() -> None:
    logger = MLflow()
    show_completions([logger], experience(), 12, per_task=2, image_px=64)
    text, picture = logger.experiment.made
    assert text == ("log_text", "run", TABLE, "completions/step_000012.md")
    assert (picture[0], picture[1], picture[3]) == (
        "log_image",
        "run",
        "completions/step_000012_chart.png",
    )
    assert picture[2].size == (64, 16)


def test_loggers_of_other_kinds_are_passed_over() -> None:
    other = SimpleNamespace(experiment=Calls())
    show_completions([other], experience(), 1, per_task=2, image_px=64)
    assert other.experiment.made == []


def test_parts_of_the_reward_are_columns() -> None:
    """A part that a completion lacks is None, and the accuracy has its column already."""
    parts = {
        "accuracy": torch.tensor([0.0, 1, 0.5, 1, 0, 0]),
        "brevity": torch.tensor([0.5, 1, 1, math.nan, math.nan, math.nan]),
        "log/letters": torch.arange(6.0),
    }
    given = experience()
    given = replace(given, scores=Scores(total=given.scores.total, parts=parts))
    rows = completion_rows(3, given, per_task=2, image_px=64)
    assert [(row["task"], row["reward/brevity"], row["reward/letters"]) for row in rows] == [
        ("math", None, 3.0),
        ("math", None, 5.0),
        ("chart", 1.0, 1.0),
        ("chart", 0.5, 0.0),
    ]
    assert "reward/accuracy" not in rows[0]
    board = TensorBoard()
    show_completions([board], given, 3, per_task=2, image_px=64)
    text = board.experiment.made[0][2]
    assert text.splitlines()[0].endswith("| reward | advantage | reward/brevity | reward/letters |")
