"""A data set in the schema of Geometry3K, from a parquet file to the reward, to a preview and to
five training steps.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from geometry3k import ROWS, Problem, write_parquet
from hydra.utils import instantiate

from g2rpo import cli
from g2rpo.data.stream import PromptStream
from g2rpo.report.preview import Preview
from g2rpo.training.parts import build_parts

COMMAND = re.compile(r"^python (train\.py data=hub data\.path=parquet .*)$", re.MULTILINE)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Problem]]:
    """The parquet file and what is in it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return tmp_path / "train.parquet", write_parquet(tmp_path / "train.parquet")


@pytest.fixture
def options(root: Path, stored: tuple[Path, list[Problem]]) -> list[str]:
    """What docs/data.md tells people to type, with the path of this file."""
    (command,) = COMMAND.findall((root / "docs" / "data.md").read_text())
    words = re.findall(r"'([^']*)'|(\S+)", command.removeprefix("train.py "))
    return [
        (quoted or plain).replace("geometry3k.parquet", str(stored[0])) for quoted, plain in words
    ]


def test_right_answers_are_paid_and_wrong_ones_never(
    options: list[str], stored: tuple[Path, list[Problem]], composed: Callable[..., Any]
) -> None:
    cfg = composed(*options, "data.heldout=0")
    source, reward = (
        instantiate(cfg.data, _convert_="all"),
        instantiate(cfg.reward, _convert_="all"),
    )
    by_answer = {(problem.text, problem.answer): problem for problem in stored[1]}
    assert source.size("math", "train") == ROWS
    judged = 0
    for index in range(ROWS):
        prompt = source.get("math", index, "train")
        problem = stored[1][prompt.meta["line"]]
        assert prompt.answer == problem.answer
        for answer, expected in [
            *((answer, 1.0) for answer in (problem.answer, *problem.right)),
            *((answer, 0.0) for answer in problem.wrong),
        ]:
            scores = reward.score(f"<thinking>so</thinking><answer>{answer}</answer>", prompt)
            assert (answer, scores["accuracy"]) == (answer, expected), f"gold {problem.answer}"
            judged += 1
    assert judged > 10 * len(by_answer)
    source.loading.close()


def test_the_preview_flags_nothing(
    options: list[str],
    composed: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    parts = build_parts(composed(*options))
    stream = PromptStream(source=parts.source, mix=parts.mix, seed=0)
    Preview(prompts=8).write(
        tmp_path,
        source=parts.source,
        tasks=("math",),
        next_of=stream.next_of,
        seed=0,
        encoder=parts.model.encoder(),
        reward=parts.reward,
    )
    assert any(re.match(r"math +8 shown, 0 flagged", line) for line in caplog.messages)


@pytest.mark.slow
def test_five_steps_are_trained(
    options: list[str],
    composed: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    small = (
        "batch.prompts_per_step=4",
        "batch.group_size=2",
        "rollout.max_new_tokens=16",
        "heldout.prompts_per_task=2",
        "filter=none",
    )
    cli.train(
        composed(
            *options, *small, "model=tiny", "trainer.max_steps=5", f"run_dir={tmp_path / 'run'}"
        )
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 5)
    assert summary["prompts_drawn"] == {"math": 20}
    assert any(line.startswith(f"gold answers: {ROWS} records checked") for line in caplog.messages)
