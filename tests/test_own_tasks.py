"""Data with tasks of its own, in a folder outside of the repository: no line of code knows them."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo import cli
from g2rpo.report.run_data import read_run
from g2rpo.training.pilot_run import measure_bands

OWN = ("medical", "counting", "gui")
"""The tasks of a run, in its order: the mixture names the first."""


def write_rows(path: Path, tasks: tuple[str, ...]) -> None:
    rows = [
        {
            "id": str(number),
            "task": tasks[number % len(tasks)],
            "text": f"how many dots are {number} and one?",
            "answer": str(number + 1),
            "answer_type": "numerical",
        }
        for number in range(36)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def options(tmp_path: Path, tiny_folder: Path) -> tuple[str, ...]:
    """A small run on such data."""
    write_rows(tmp_path / "rows.jsonl", ("gui", "counting", "medical"))
    return (
        "data=jsonl",
        f"data.files={tmp_path / 'rows.jsonl'}",
        f"data.root={tmp_path}",
        "data.heldout=1",
        "model=folder",
        f"model.path={tiny_folder}",
        "batch.prompts_per_step=4",
        "batch.group_size=2",
        "rollout.max_new_tokens=6",
        "heldout.samples=1",
        "filter=none",
        "reward_workers=inline",
        "gradient_conflict.every_n_steps=1",
        f"run_dir={tmp_path / 'run'}",
    )


def columns(folder: Path, metric: str) -> set[str]:
    with (folder / "metrics.csv").open(newline="") as file:
        header = next(csv.reader(file))
    return {name.removeprefix(f"{metric}/") for name in header if name.startswith(f"{metric}/")}


def test_a_run_on_own_tasks_measures_shapes_reports_and_resumes_them(
    composed: Callable[..., Any],
    options: tuple[str, ...],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tmp_path / "run"
    own = (
        *options,
        "shaping=full",
        "shaping/entropy=released",  # a fixed weight gives every task a gradient
        "+task_mix.weights.medical=2.0",
        "+batch.group_size_of.gui=3",
        "+shaping.length.bands.default=[1,2,5,7]",
        "callbacks.checkpoint.every_n_train_steps=1",
    )
    cli.train(composed(*own, "trainer.max_steps=3"))
    for metric in ("reward/accuracy", "policy/entropy_nats", "reward/length", "gradient/norm"):
        assert columns(run, metric) == set(OWN)
    assert columns(run, "gradient/cosine") == {"medical/counting", "medical/gui", "counting/gui"}
    summary = json.loads((run / "summary.json").read_text())
    assert summary["prompts_drawn"] == {"medical": 6, "counting": 3, "gui": 3}
    assert set(summary["heldout"]["after"]) == {"macro", *OWN}
    rows = [json.loads(line) for line in (run / "completions.jsonl").read_text().splitlines()]
    groups = {row["task"]: sum(r["prompt_id"] == row["prompt_id"] for r in rows) for row in rows}
    assert groups == {"medical": 2, "counting": 2, "gui": 3}

    found = read_run(run)
    assert found.tasks == ("counting", "gui", "medical")  # .hydra/ is missing here
    page = (run / "report.html").read_text()
    for place, task in enumerate(found.tasks):
        assert f'style="background: var(--task{place})"></span>{task}' in page

    (run / "summary.json").unlink()
    write_rows(tmp_path / "rows.jsonl", ("gui", "counting", "radiology"))
    own = tuple(word for word in own if "medical" not in word)
    with pytest.raises(SystemExit):
        cli.train(composed(*own, "trainer.max_steps=4", f"resume={run}"))
    assert caplog.messages[-1].startswith(
        "resume: expected the tasks of the run to resume, medical, counting, gui; got counting,"
        " gui, radiology (medical missing; radiology new). Give it the same data and task_mix, or"
    )


def test_a_task_without_a_band_ends_a_run_before_weights_are_loaded(
    composed: Callable[..., Any],
    options: tuple[str, ...],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        cli.train(composed(*options, "shaping=length", f"model.path={tmp_path / 'nothing'}"))
    assert caplog.messages[-1].startswith(
        "shaping.length.bands: expected a band for every task, got none for counting, gui, medical"
    )


@pytest.mark.slow
def test_preview_estimate_pilot_and_evaluation_know_own_tasks(
    composed: Callable[..., Any],
    options: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.preview(composed(*options, "prompts=2", config="preview"))
    page = (tmp_path / "run" / "preview.html").read_text()
    cli.estimate(composed(*options, config="estimate"))
    capsys.readouterr()
    measure_bands(composed(*options, "pilot.prompts_per_task=2", config="pilot"), None)
    shown = capsys.readouterr().out
    bands = (tmp_path / "run" / "shaping" / "proposed.yaml").read_text()
    cli.evaluate(composed(*options))
    scores = json.loads((tmp_path / "run" / "summary.json").read_text())["heldout"]["before"]
    assert set(scores) == {"macro", *OWN}
    for task in OWN:
        assert f"></span>{task}" in page
        assert re.search(rf"^ *{task} +\d\.\d\d ", shown, re.MULTILINE)
        assert f"    {task}: [" in bands
