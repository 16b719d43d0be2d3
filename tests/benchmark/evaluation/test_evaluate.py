"""`python evaluate.py eval=...` as a person uses it: the table, a kill in the middle, rescoring
without weights, wrong input.
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
from g2rpo.benchmark.evaluation.by_name import benchmark_names
from g2rpo.policy.checkpoint import Checkpoint

ROOT = Path(__file__).parents[3]
SMALL = (
    "model=folder",
    "heldout=none",
    "eval=suite18",
    "eval.rows=demo",
    "eval.row_sources.demo.rows_per_benchmark=3",
    "eval.max_new_tokens=4",
    "eval.limit=4",
    "rollout.max_new_tokens=8",
)


THEIRS = """
class Two:
    def __init__(self, *, count):
        self.count = count

    def records(self, benchmark):
        for i in range(self.count):
            record = {"index": i, "question": f"{benchmark.name} {i}?", "answer": "a"}
            record |= {"category": "Doc", "image": "none.png"}
            yield f"mine {i}", record
"""


@pytest.fixture
def evaluate(
    composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> Callable[..., Path]:
    """`evaluate("eval.limit=2")`: an evaluation of the small random checkpoint in this process;
    returns its folder.
    """

    def run(*options: str, folder: str = "run") -> Path:
        cli.evaluate(
            composed(*SMALL, f"model.path={tiny_folder}", *options, f"run_dir={tmp_path / folder}")
        )
        return tmp_path / folder

    return run


@pytest.fixture
def rescore(composed: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """`rescore("source=run")`: judges the predictions of a folder again; returns the folder of the
    new verdicts.
    """

    def run(*options: str) -> Path:
        cli.rescore(composed(*options, f"run_dir={tmp_path / 'again'}", config="rescore"))
        return tmp_path / "again"

    return run


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def predictions(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: rows(path) for path in sorted((folder / "eval").glob("*.jsonl"))}


def test_all_18_benchmarks_are_asked_scored_and_shown(
    evaluate: Callable[..., Path],
    rescore: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = evaluate()
    shown = capsys.readouterr().out
    summary = json.loads((folder / "summary.json").read_text())
    found = summary["benchmarks"]
    assert set(found) == set(benchmark_names()) == set(predictions(folder))
    assert [entry["published"]["row"] for entry in found.values()] == list(range(1, 19))
    for name, entry in found.items():
        assert 0 <= entry["low"] <= entry["score"] <= entry["high"] <= 1
        assert (entry["protocol"], entry["judge"], entry["rows_from"], entry["limit"]) == (
            "paper",
            None,
            "demo",
            4,
        )
        assert entry["rows"] == len(predictions(folder)[name]) > 0
    assert "of_1000" in found["ocrbench"]
    assert summary["benchmark_means"]["macro"] == pytest.approx(
        sum(entry["score"] for entry in found.values()) / 18
    )
    with (folder / "eval" / "table.csv").open() as file:
        table = {row["benchmark"]: row for row in csv.DictReader(file)}
    assert len(table) == 18 + 6 + 1
    assert all(row["score"] for row in table.values())
    assert "demo rows" in shown
    assert str(folder / "eval" / "table.html") in shown
    # judged again by another protocol, from the files alone
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    again = rescore(
        f"source={folder}", "eval=none", "eval.benchmarks=[mmstar,refcoco]", "eval.protocol=robust"
    )
    found = json.loads((again / "summary.json").read_text())["benchmarks"]
    assert {
        name: (entry["protocol"], entry["prompted_as"], entry["rows_from"])
        for name, entry in found.items()
    } == {name: ("robust", "paper", "demo") for name in ("mmstar", "refcoco")}
    assert set(predictions(again)) == {"mmstar", "refcoco"}


def test_an_evaluation_that_is_started_again_generates_nothing(
    evaluate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from g2rpo.rollout.hf import HFEngine

    first = predictions(evaluate("eval.benchmarks=[mmbench,refspatial]"))
    monkeypatch.setattr(HFEngine, "generate", lambda *_: pytest.fail("something was generated"))
    assert predictions(evaluate("eval.benchmarks=[mmbench,refspatial]")) == first


def test_the_folder_of_a_training_run_is_refused_and_keeps_its_metrics(
    evaluate: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "step,loss/total\n0,\n1,0.5\n2,0.25\n"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text(rows)
    with pytest.raises(SystemExit):
        evaluate("eval.benchmarks=[mmstar]")
    assert "got one with metrics.csv up to step 2" in caplog.text
    assert (tmp_path / "run" / "metrics.csv").read_text() == rows
    assert not (tmp_path / "run" / "eval").exists()


def test_other_settings_in_the_same_folder_are_refused(
    evaluate: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    evaluate("eval.benchmarks=[mmstar]")
    with pytest.raises(SystemExit):
        evaluate("eval.benchmarks=[mmstar]", "eval.temperature=0.5", "eval.max_new_tokens=5")
    assert "eval.max_new_tokens was 4 and is 5" in caplog.text
    assert "eval.temperature was 0.0 and is 0.5" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["eval.benchmarks=[mmstarr]"],
            (
                "eval.benchmarks: unknown benchmark 'mmstarr'; did you mean mmstar? expected some"
                " of: ai2d, chartqa"
            ),
        ),
        (
            ["eval.rows=tvs"],
            "eval.rows: unknown source 'tvs'; expected one of demo, hub, tsv, folder",
        ),
        (["eval.rows=folder"], "eval.root: eval.rows=folder needs the folder with the files"),
        (
            ["eval.protocol=vlmevalkit", "eval.benchmarks=[charxiv_rq,refspatial]"],
            "eval.protocol=vlmevalkit: benchmark ",
        ),
    ],
)
def test_wrong_input_is_answered_before_weights_are_loaded(
    options: list[str],
    words: str,
    evaluate: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    with pytest.raises(SystemExit):
        evaluate(*options)
    assert caplog.records[-1].getMessage().startswith(words)


def test_a_folder_without_predictions_cannot_be_rescored(
    rescore: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        rescore("source=/no/such/folder")
    assert (
        caplog.records[-1]
        .getMessage()
        .startswith("source: expected a run folder with eval/<benchmark>.jsonl")
    )


def test_a_source_of_ones_own_is_named_by_its_import_path(
    evaluate: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_rows.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    Image.new("RGB", (40, 40)).save(tmp_path / "none.png")
    monkeypatch.chdir(tmp_path)
    folder = evaluate(
        "eval.benchmarks=[ocrbench]", "eval.rows={_target_: their_rows.Two, count: 2}"
    )
    assert len(predictions(folder)["ocrbench"]) == 2
    assert (
        json.loads((folder / "summary.json").read_text())["benchmarks"]["ocrbench"]["rows_from"]
        == "their_rows.Two"
    )


@pytest.mark.process
@pytest.mark.slow
def test_an_evaluation_killed_in_the_middle_generates_nothing_twice(
    tiny_folder: Path, tmp_path: Path
) -> None:
    options = [
        *SMALL,
        "eval.limit=null",
        "eval.row_sources.demo.rows_per_benchmark=12",
        "eval.batch_rows=4",
        f"model.path={tiny_folder}",
    ]
    command = [
        sys.executable,
        str(ROOT / "evaluate.py"),
        *options,
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    started = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(list((tmp_path / "run" / "eval").glob("*.jsonl"))) < 5:
        assert started.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    half = predictions(tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole = predictions(tmp_path / "run")
    assert len(whole) == 18
    for name, before in half.items():
        assert [row for row in whole[name] if row["id"] in {one["id"] for one in before}] == before
    assert all(len({row["id"] for row in found}) == len(found) for found in whole.values())


def test_training_asks_the_benchmarks_and_keeps_the_best_weights(
    composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> None:
    small = (
        "batch.prompts_per_step=4",
        "batch.group_size=2",
        "trainer.max_steps=3",
        "filter=none",
        "eval.benchmarks=[mmbench,ocrbench]",
    )
    cli.train(
        composed(
            *SMALL,
            f"model.path={tiny_folder}",
            *small,
            "trainer.val_check_interval=2",
            f"run_dir={tmp_path / 'run'}",
        )
    )
    folder = tmp_path / "run"
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary["benchmarks"]) == {"mmbench", "ocrbench"} == set(predictions(folder))
    assert {path.name for path in (folder / "eval").iterdir()} >= {
        "step_2",
        "table.csv",
        "table.html",
        "settings.json",
    }
    with (folder / "metrics.csv").open(newline="") as file:
        logged = [(row["step"], row["benchmark/score/ocrbench"]) for row in csv.DictReader(file)]
    assert [(step, bool(score)) for step, score in logged] == [
        ("1", False),
        ("2", True),
        ("3", True),
    ]
    assert float(logged[-1][1]) == summary["benchmarks"]["ocrbench"]["score"]
    best = json.loads((folder / "checkpoints" / "best" / "best.json").read_text())
    assert best["measure"] == "benchmark/macro"
    assert (
        Checkpoint(path=str(folder / "checkpoints" / "best")).policy().config.model_type
        == "qwen3_vl"
    )
    assert summary["stage_s"]["benchmarks"] > 0
