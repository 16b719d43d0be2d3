"""The last lines of a run: scores by task, the page, and the line that goes on."""

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from g2rpo.cli.ending import resume_line, say_scores


def told(folder: Path) -> list[str]:
    text = io.StringIO()
    say_scores(folder, Console(file=text, width=200, soft_wrap=True))
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def scores(math: float, chart: float) -> dict[str, float]:
    return {"macro": (math + chart) / 2, "math": math, "chart": chart}


def test_a_finished_run_ends_with_its_scores_the_command_that_evaluates_it_and_the_page(
    tmp_path: Path,
) -> None:
    summary = {
        "heldout": {"before": scores(0.25, 0.5), "after": scores(0.5, 0.75)},
        "heldout_greedy": {"before": scores(0.125, 0.375), "after": scores(0.625, 0.875)},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "report.html").touch()
    (tmp_path / "checkpoints" / "final").mkdir(parents=True)
    lines = told(tmp_path)
    cells = {words[0]: words[1:] for words in map(str.split, lines)}
    assert cells["math"] == ["0.250", "0.500", "0.125", "0.625"]
    assert cells["chart"] == ["0.500", "0.750", "0.375", "0.875"]
    assert cells["mean"] == ["0.375", "0.625", "0.250", "0.750"]
    assert lines[-2].endswith(
        f"evaluate.py model=folder model.path={tmp_path / 'checkpoints' / 'final'}"
    )
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"


def test_a_run_without_held_out_prompts_has_no_table_and_an_unfinished_one_says_nothing(
    tmp_path: Path,
) -> None:
    assert told(tmp_path) == []
    (tmp_path / "summary.json").write_text(json.dumps({"heldout": {"before": {}, "after": {}}}))
    assert told(tmp_path) == []


def test_a_run_that_stopped_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "advantage=grpo", "hydra.run.dir=run"])
    assert resume_line(tmp_path / "run") is None
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    run = tmp_path / "run"
    assert resume_line(run) == f"python train.py advantage=grpo resume={run} hydra.run.dir={run}"
    typed = ["train.py", "reward.functions=[a.py:f, b.py:g]", "run dir=x"]
    monkeypatch.setattr("sys.argv", typed)
    words = shlex.split(resume_line(run) or "")
    assert words[2:4] == typed[1:]  # a shell reads what was typed
    (run / "summary.json").write_text("{}")
    assert resume_line(run) is None
