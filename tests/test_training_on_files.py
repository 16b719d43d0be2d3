"""Training on records in files: whole runs, a killed one that goes on as if nothing had happened,
and what is said of broken records.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from g2rpo import cli

ROOT = Path(__file__).parents[1]
SMALL = (
    "data=onethinker",
    "model=folder",
    "batch.prompts_per_step=4",
    "batch.group_size=2",
    "rollout.max_new_tokens=6",
    "heldout.prompts_per_task=1",
    "heldout.samples=1",
    "filter=none",
    "gradient_conflict=none",
)
TASK_TYPES = (
    "general_vqa_science_stem",
    "math_reasoning",
    "chart_figure_qa",
    "spatial_reasoning",
    "ocr",
    "spatial_grounding",
)
BOX = '{"boxes": [100, 200, 500, 800]}'


def a_row(number: int) -> dict[str, Any]:
    kind = TASK_TYPES[number % 6]
    types = {"ocr": "OCR", "spatial_grounding": "spatial grounding"}
    answer = {"ocr": f"sign {number}", "spatial_grounding": BOX}.get(kind, str(number))
    return {
        "problem_id": number,
        "problem": f"<image> what is number {number}?",
        "data_type": "image",
        "options": [],
        "problem_type": types.get(kind, "numerical"),
        "task_type": kind,
        "answer": f"<answer>{answer}</answer>",
        "images": [f"images/{number}.jpg"],
    }


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A folder with 66 records of all six tasks and their pictures, of many sizes."""
    (tmp_path / "images").mkdir()
    rows = [a_row(number) for number in range(66)]
    for row in rows:
        size = (30 + 7 * row["problem_id"], 90 - row["problem_id"])
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / row["images"][0])
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


@pytest.fixture
def train(
    composed: Callable[..., Any], tiny_folder: Path, records: Path, tmp_path: Path
) -> Callable[..., Path]:
    """`train("data.on_error=skip")`: two steps on the records; returns the run folder."""

    def run(
        *options: str, folder: str = "run", files: str | None = None, root: Path | None = None
    ) -> Path:
        where = (
            f"data.files={files or records / 'rows.jsonl'}",
            f"data.root={root or records}",
            f"model.path={tiny_folder}",
        )
        cli.train(
            composed(
                *SMALL, "trainer.max_steps=2", *where, *options, f"run_dir={tmp_path / folder}"
            )
        )
        return tmp_path / folder

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def numbers(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def prompt_order(folder: Path) -> list[str]:
    return list(dict.fromkeys(row["prompt_id"] for row in lines(folder / "completions.jsonl")))


def test_the_real_sample_trains(train: Callable[..., Path], shared: Path, tmp_path: Path) -> None:
    sample = shared / "data" / "openvlthinker_sample_train.json"
    for number, row in enumerate(json.loads(sample.read_text(encoding="utf-8"))):
        for image in row["images"]:
            path = tmp_path / "pictures" / image
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (200 + number, 100 + number), (number, 90, 200)).save(path)
    folder = train("batch.prompts_per_step=6", files=str(sample), root=tmp_path / "pictures")
    found = summary(folder)
    assert (found["status"], found["steps"]) == ("finished", 2)
    assert found["prompts_drawn"] == dict.fromkeys(found["prompts_drawn"], 2)
    assert len(found["prompts_drawn"]) == 6


def killed_after(steps: int, run: Path, options: tuple[str, ...]) -> None:
    """Starts a run like a person would and kills it, at once and without mercy, when so many steps
    are in metrics.csv.
    """
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *options, f"hydra.run.dir={run}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        if (run / "checkpoints" / "last.ckpt").exists() and len(
            (run / "metrics.csv").read_text().splitlines()
        ) > steps:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_prompts_and_numbers(
    workers: int, train: Callable[..., Path], records: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    rows = lines(records / "rows.jsonl")
    rows[13]["images"] = [
        "images/gone.jpg"
    ]  # so that a replacement is part of what has to be the same
    (records / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = (
        "advantage=ema_grpo",
        "trainer.max_steps=10",
        "callbacks.checkpoint.every_n_train_steps=1",
        "heldout=none",
        "data.on_error=skip",
        "data.heldout=0",
        f"data.loading.workers={workers}",
        "task_mix=proportional",
        "curriculum=pass_rate",
        "batch.num_minibatches=2",
        "batch.group_size_of.math=3",
    )
    unbroken = train(*options, "data.loading.workers=1", folder="unbroken")
    run = tmp_path / "killed"
    where = (
        f"data.files={records / 'rows.jsonl'}",
        f"data.root={records}",
        f"model.path={tiny_folder}",
    )
    killed_after(2, run, (*SMALL, *where, *options))
    assert not (run / "summary.json").exists()
    resumed = train(*options, f"resume={run}", folder="killed")
    assert numbers(resumed) == numbers(unbroken)
    assert lines(resumed / "completions.jsonl") == lines(unbroken / "completions.jsonl")
    assert prompt_order(resumed) == prompt_order(unbroken)
    assert len(prompt_order(unbroken)) == 20
    assert summary(resumed)["prompts_skipped"] == summary(unbroken)["prompts_skipped"]


def complaint(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture, *options: str, **given: Any
) -> str:
    with pytest.raises(SystemExit) as stopped:
        train(*options, **given)
    assert stopped.value.code == 1
    return caplog.messages[-1].rpartition("\n(traceback: ")[0]


def test_a_missing_picture_ends_the_run_with_its_file_and_line_or_is_counted(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture, records: Path
) -> None:
    for path in (records / "images").iterdir():
        if int(path.stem) % 6 == 2:  # every chart
            path.write_bytes(path.read_bytes()[:200])
    message = complaint(train, caplog, "task_mix.weights={chart: 1, math: 1}", "heldout=none")
    assert message.startswith(f"{records / 'rows.jsonl'}, line ")
    assert "Truncated File Read" in message
    assert message.endswith("Mend or drop the record, or set data.on_error=skip.")
    (records / "images" / "2.jpg").unlink()
    Image.new("RGB", (64, 64)).save(records / "images" / "2.jpg")
    folder = train(
        "task_mix.weights={chart: 1, math: 1}",
        "data.on_error=skip",
        "data.heldout=0",
        "batch.prompts_per_step=2",
        folder="skipping",
    )
    skipped = summary(folder)["prompts_skipped"]
    assert set(skipped["unusable"]) == {"chart"}
    assert skipped["unusable"]["chart"] == len(skipped["records"]) >= 1
    assert all(f"{records / 'rows.jsonl'}, line " in reason for reason in skipped["records"])


@pytest.mark.slow
def test_held_out_prompts_without_a_picture_are_left_out_before_and_after(
    train: Callable[..., Path], records: Path
) -> None:
    first = train("heldout.prompts_per_task=4", "data.on_error=skip")
    held = [row["prompt_id"] for row in lines(first / "heldout" / "before.jsonl")]
    (records / "images" / f"{held[0].partition('/')[2]}.jpg").unlink()
    again = train("heldout.prompts_per_task=4", "data.on_error=skip", folder="again")
    for when in ("before", "after"):
        assert [row["prompt_id"] for row in lines(again / "heldout" / f"{when}.jsonl")] == held[1:]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.on_error=ignore", "data.on_error: expected one of raise, skip, got 'ignore'"),
        (
            "data.files=nowhere.json",
            "data.files: no such file: nowhere.json, neither here nor in data.root=",
        ),
        ("data.root=/nowhere", "data.root: no such folder: /nowhere"),
        (
            "data.loading.workers=-1",
            "data.loading.workers: expected a number from 0 to 10000",
        ),
    ],
)
def test_wrong_settings_are_named_before_weights_are_loaded(
    option: str,
    message: str,
    composed: Callable[..., Any],
    records: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    where = (
        f"data.files={records / 'rows.jsonl'}",
        f"data.root={records}",
        "model.path=/no/weights",
    )
    with pytest.raises(SystemExit):
        cli.train(composed(*SMALL, *where, option, f"run_dir={tmp_path / 'run'}"))
    assert message in caplog.messages[-1]
