"""Whole runs with reward functions and data of a folder outside of the repository."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli.runs import SMALL, json_lines, metrics, script
from report.pages import parsed

pytestmark = pytest.mark.process

MY_REWARD = '''
"""A TRL-style and a verl-style function, as others have them."""


def brevity(completions, level, **kwargs):
    texts = [completion[0]["content"] for completion in completions]
    return [None if own > 1 else 1 / (1 + len(text)) for text, own in zip(texts, level)]


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    right = float(ground_truth in solution_str)
    return {"score": right + extra_info["level"], "acc": right, "letters": len(solution_str)}
'''
FUNCTIONS = "reward.functions=[my_reward.py:brevity,my_reward.py:compute_score]"
DATA = (
    "data=jsonl",
    "data.files=rows.jsonl",
    "data.root=.",
    "task_mix.weights={math: 1.0, chart: 1.0}",
    "reward=functions",
)
MADE = (*DATA, FUNCTIONS, "reward.weights=[0.5,2.0]", "reward.accuracy=acc")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A folder of a user: a file of functions, JSON Lines with a column of their own, a model."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "my_reward.py").write_text(MY_REWARD)
    shutil.copytree(tiny_folder, folder / "tiny")
    shutil.copytree(tiny_folder, folder / "broken")
    (folder / "broken" / "model.safetensors").write_bytes(b"no weights")
    rows = [
        {
            "id": f"{task}-{number}",
            "task": task,
            "text": f"How many are {number}?",
            "answer": str(number % 3),
            "answer_type": "numerical",
            "level": 1 + (task == "chart"),
        }
        for number in range(30)
        for task in ("math", "chart")
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def finished(elsewhere: Path) -> Path:
    """The folder of a run of two steps with decoupled advantages."""
    done = script(
        "train.py",
        *SMALL,
        *MADE,
        "model.path=tiny",
        "advantage=gdpo",
        "logger=[csv,tensorboard]",
        "hydra.run.dir=run",
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr
    return elsewhere / "run"


def test_every_part_of_every_function_is_logged_by_task(finished: Path) -> None:
    _, *rows = metrics(finished)
    assert len(rows) == 2
    completions = json_lines(finished / "completions.jsonl")
    for step, row in enumerate(rows, 1):
        for task in ("math", "chart"):
            own = [c for c in completions if (c["step"], c["task"]) == (step, task)]
            length = sum(len(c["completion"]) for c in own) / len(own)
            assert float(row[f"reward/letters/{task}"]) == pytest.approx(length)
            right = sum(c["answer"] in c["completion"] for c in own) / len(own)
            assert float(row[f"reward/acc/{task}"]) == pytest.approx(right)
            assert row[f"reward/accuracy/{task}"] == row[f"reward/acc/{task}"]
            level = 1 + (task == "chart")
            assert float(row[f"reward/compute_score/{task}"]) == pytest.approx(level + right)
        assert row["reward/brevity/math"]
        assert not row.get("reward/brevity/chart")
        assert not {"reward/format/math", "reward/total/math"} & set(row)
    assert (finished / "train.log").read_text().count(
        "brevity = my_reward.py:brevity: trl, completions as chat messages, called once per group"
    ) == 1


def test_completions_have_the_parts_and_the_weighted_total(finished: Path) -> None:
    for row in json_lines(finished / "completions.jsonl"):
        right = float(row["answer"] in row["completion"])
        brief = 1 / (1 + len(row["completion"])) if row["task"] == "math" else 0.0
        level = 1 + (row["task"] == "chart")
        assert row["reward"] == pytest.approx(0.5 * brief + 2.0 * (level + right))
        assert ("brevity" in row["parts"]) == (row["task"] == "math")
        assert row["accuracy"] == row["parts"]["acc"] == right


def test_the_report_shows_the_parts(finished: Path) -> None:
    page = parsed((finished / "report.html").read_text())
    text = (finished / "report.html").read_text()
    assert page.one("section", id="learning")
    assert all(f"Reward part {part}" in text for part in ("brevity", "compute_score", "letters"))
    assert "letters" in page.one("section", id="training").text


@pytest.mark.slow
def test_a_run_goes_on_and_keeps_its_parts(finished: Path, elsewhere: Path) -> None:
    shutil.copytree(finished, elsewhere / "again")
    (elsewhere / "again" / "summary.json").unlink()
    done = script(
        "train.py",
        *SMALL,
        *MADE,
        "model.path=tiny",
        "advantage=g2rpo_decoupled",
        "resume=again",
        "trainer.max_steps=3",
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr
    rows = metrics(elsewhere / "again")
    assert [row["step"] for row in rows if row["reward/total"]] == ["1", "2", "3"]
    assert all(row["reward/letters/math"] for row in rows if row["reward/total"])


@pytest.mark.parametrize(
    ("file", "functions", "options", "words"),
    [
        ("def f(a, b): ...", "f", (), "my.py:f has the signature (a, b); expected f(completions,"),
        ("def f(completion, answer: ...", "f", (), "my.py, line 1: "),
        ("def brevity(completion): ...", "brevety", (), "no 'brevety'; is it 'brevity'?"),
        (
            "def f(completions, **kw):\n    return [1.0]",
            "f",
            (),
            "my.py:f returned 1 values for 2 completions; expected one per completion",
        ),
        ("def f(completion): return float('nan')", "f", (), "my.py:f returned nan, expected a fin"),
        (
            "def f(completion): return 'good'",
            "f",
            (),
            "my.py:f returned 'good' (str), expected a n",
        ),
        (
            "def f(completion, score): ...",
            "f",
            (),
            "my.py:f takes 'score', and no field of the rec",
        ),
        (
            "def f(completion): ...",
            "f,my.py:f",
            (),
            "two functions are called f: my.py:f and my.py:",
        ),
        (
            "def f(completion): return 1",
            "f",
            ("reward.weights=[1.0,2.0]",),
            "reward.weights: expected one number for each of 1 functions (f), got 2",
        ),
        (
            "def f(completion): return 1",
            "f",
            ("reward.accuracy=acc",),
            "reward.accuracy: no function returns a part 'acc'; there are accuracy, f, total",
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence_before_weights_are_loaded(
    file: str,
    functions: str,
    options: Sequence[str],
    words: str,
    elsewhere: Path,
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(elsewhere / "rows.jsonl", tmp_path)
    (tmp_path / "my.py").write_text(file + "\n")
    with pytest.raises(SystemExit):
        train(
            *DATA,
            f"reward.functions=[my.py:{functions}]",
            *options,
            f"model.path={elsewhere / 'broken'}",
        )
    sentence, traceback = caplog.messages[-1].split("\n")
    assert words in sentence
    assert traceback.startswith("(traceback: ")


def test_a_mapping_on_the_command_line_names_the_parts(
    elsewhere: Path, composed: Callable[..., Any]
) -> None:
    cfg = composed(*DATA, "reward.functions={short: my_reward.py:brevity}", "reward.chat=true")
    assert dict(cfg.reward.functions) == {"short": "my_reward.py:brevity"}
