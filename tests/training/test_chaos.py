"""A run that 30 signals hit at random moments, and that is resumed each time, ends as the unbroken
run to the bit.
"""

import csv
import json
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from training.broken_runs import CLOCKED, LIMIT_S, finish, log, rows, start, strike

from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.completion_parts import completion_files, opened
from g2rpo.training.plain_values import split_tensors

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 21
SIGNALS = 30
STEPS = 12
WORDS = (
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=4",
    "heldout.samples=2",
    "heldout.prompts_per_task=2",
    "eval=quick",
    "eval.rows=demo",
    "eval.limit=4",
    "rollout.max_new_tokens=24",
    "callbacks.benchmarks.before=true",
    "callbacks.run_files.part_mb=0.02",
)
STARTED = "gold answers:"
"""What a run prints before it loads weights."""
CLOCKED_FILES = (
    "report.html",
    "train.log",
    "estimate.json",
    "summary.json",
    "README.md",
    "timeline.csv",
)
"""Files with times of day, durations or the overrides of the last start; the summary is compared
without its durations.
"""


@dataclass
class Course:
    """When the unbroken run had started, and how many seconds it had left after each step."""

    started_s: float
    left_s: list[float]


@dataclass
class Ended:
    """Folders of the unbroken run and of the runs that were hit, and what hit them."""

    unbroken: Path
    hit: list[Path] = field(default_factory=list)
    strikes: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Runs with 30 strikes; a run that ends before it was hit often enough is followed by another.

    A third of the moments fall into the start of the process, the others into training, saves,
    benchmarks in the loop, the final measurement and the report.
    """
    out = tmp_path_factory.mktemp("chaos")
    found, rng = Ended(out / "unbroken"), random.Random(SEED)
    course = _observe(start(found.unbroken, WORDS), found.unbroken)
    while len(found.strikes) < SIGNALS:
        folder = out / f"hit_{len(found.hit)}"
        found.hit.append(folder)
        while len(found.strikes) < SIGNALS and not (folder / "summary.json").exists():
            left = max(SIGNALS - len(found.strikes) - 8, 3)
            ahead_s = course.left_s[max(len(rows(folder)) - 1, 0)]
            in_start = rng.random() < 1 / 3
            wait_s = rng.uniform(0.0, course.started_s if in_start else 2 * ahead_s / left)
            said = strike(
                start(folder, WORDS),
                folder,
                signum=rng.choice((9, 15, 2)),
                to_all=rng.random() < 0.5,
                after="" if in_start else STARTED,
                wait_s=wait_s,
            )
            print(f"seed {SEED}, strike {len(found.strikes)}: {said}")  # noqa: T201 - pytest shows it
            if said is not None:
                found.strikes.append(said)
        if not (folder / "summary.json").exists():
            finish(start(folder, WORDS), folder)
    return found


def test_all_strikes_hit_a_process_that_ran(ended: Ended) -> None:
    kinds = Counter(said.split()[0] for said in ended.strikes)
    assert sum(kinds.values()) == SIGNALS
    assert set(kinds) == {"SIGKILL", "SIGTERM", "SIGINT"}


def test_all_tensors_are_equal(ended: Ended) -> None:
    kept = ("state_dict", "optimizer_states", "g2rpo", "PromptDataModule", "global_step")
    expected, tensors = _state(ended.unbroken, kept)
    assert len(tensors) > 400
    for folder in ended.hit:
        values, others = _state(folder, kept)
        assert values == expected, folder
        assert others.keys() == tensors.keys()
        for name, value in tensors.items():
            assert torch.equal(value, others[name]), (folder, name)


def test_every_file_is_equal_to_the_byte(ended: Ended) -> None:
    expected = _files(ended.unbroken)
    assert {"checkpoints/final/model.safetensors", "checkpoints/best/best.json"} <= expected.keys()
    assert {"heldout/before.jsonl", "heldout/after.jsonl", "heldout/step_4.jsonl"} <= set(expected)
    assert {"eval/chartqa.jsonl", "eval/step_8/chartqa.jsonl", "eval/table.csv"} <= set(expected)
    for folder in ended.hit:
        found = _files(folder)
        assert found.keys() == expected.keys(), folder
        assert [name for name in expected if expected[name] != found[name]] == [], folder


def test_metrics_completions_and_summary_are_equal(ended: Ended) -> None:
    expected = rows(ended.unbroken)
    assert [int(row["step"]) for row in expected] == list(range(STEPS + 1))  # 0: before training
    for folder in ended.hit:
        assert rows(folder) == expected, folder
        assert _completions(folder) == _completions(ended.unbroken), folder
        assert _summary(folder) == _summary(ended.unbroken), folder


def test_the_timeline_has_every_step_once_and_goes_forward(ended: Ended) -> None:
    for folder in (ended.unbroken, *ended.hit):
        with (folder / "timeline.csv").open(newline="") as file:
            spans = [(int(row["step"]), float(row["start_s"])) for row in csv.DictReader(file)]
        begun = {step: min(at for own, at in spans if own == step) for step, _ in spans}
        assert list(begun) == list(range(1, STEPS + 1)), folder
        assert sorted(begun.values()) == list(begun.values()), folder


def test_no_prompt_is_skipped_or_repeated(ended: Ended) -> None:
    drawn = [_drawn(_completions(folder)) for folder in (ended.unbroken, *ended.hit)]
    assert sum(drawn[0].values()) == STEPS * 6 * 4
    assert max(drawn[0].values()) == 4  # a prompt comes once, with its group
    assert drawn[1:] == [drawn[0]] * len(ended.hit)


def _observe(process: subprocess.Popen[bytes], folder: Path) -> Course:
    """Wait for the end of the unbroken run, and note when it wrote what."""
    begun, seen = time.monotonic(), []
    metrics = folder / "metrics.csv"
    started_s = None
    while process.poll() is None:
        now = time.monotonic() - begun
        assert now < LIMIT_S, log(folder).read_text()
        if started_s is None and STARTED in log(folder).read_text():
            started_s = now
        written = max(len(rows(folder)) - 1, 0) if metrics.exists() else 0
        seen += [now] * (written - len(seen))
        time.sleep(0.05)
    finish(process, folder)
    assert started_s is not None
    end = time.monotonic() - begun
    return Course(started_s, [end - started_s, *(end - moment for moment in seen)])


def _state(folder: Path, kept: tuple[str, ...]) -> tuple[Any, dict[str, torch.Tensor]]:
    """The state of the last checkpoint, without the step of the last validation that it knows.

    A kill after the last validation and before the save that follows it leaves an earlier one
    there. What the validation wrote is complete, and is compared as files.
    """
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert state["g2rpo"].pop("validated_step") in (STEPS - 4, STEPS)
    return split_tensors({name: state[name] for name in kept})


def _files(folder: Path) -> dict[str, bytes]:
    """All files of a run that hold neither a time nor a setting of the last start."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in CLOCKED_FILES
        and path.suffix not in (".ckpt", ".html")
        and ".hydra" not in path.parts
        and "completions" not in path.parts
        and not path.name.startswith(("metrics.csv", "completions", "error", "."))
    }


def _completions(folder: Path) -> str:
    """The whole of the completions, of which a long run compresses the older parts."""
    text = ""
    for path in completion_files(folder):
        with opened(path) as file:
            text += file.read()
    return text


def _drawn(completions: str) -> Counter[tuple[int, str]]:
    lines = [json.loads(line) for line in completions.splitlines()]
    steps = [line["step"] for line in lines]
    assert all(before <= after for before, after in pairwise(steps))
    return Counter((line["step"], line["prompt_id"]) for line in lines)


def _summary(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    return {
        name: value
        for name, value in summary.items()
        if not name.endswith("_s") and not name.startswith(CLOCKED)
    }
