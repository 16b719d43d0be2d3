"""Whole runs with tasks, reward functions and a model that this repository does not know."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli.runs import NO_HELDOUT, SMALL, json_lines, metrics, script
from PIL import Image
from report.pages import parsed
from tiny_families import BUILDERS

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
DATA = ("data=jsonl", "data.files=rows.jsonl", "data.root=.", "reward=functions")
MADE = (
    *SMALL,
    *DATA,
    FUNCTIONS,
    "reward.weights=[0.5,2.0]",
    "reward.accuracy=acc",
    "model.path=smolvlm",
    "policy.prefix=repeated",
    "batch.prompts_per_step=6",
    "trainer.max_steps=3",
)
TASKS = {"gui": 2, "counting": 1, "medical": 1}
"""The level of each task's records."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A folder of a user: functions, JSON Lines with columns and tasks of their own, a SmolVLM."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "my_reward.py").write_text(MY_REWARD)
    BUILDERS["smolvlm"](folder / "smolvlm")
    shutil.copytree(tiny_folder, folder / "broken")
    (folder / "broken" / "model.safetensors").write_bytes(b"no weights")
    Image.new("RGB", (40, 30), (200, 0, 90)).save(folder / "a.png")
    golds = {"gui": {"x": 3, "y": 4}, "counting": 3, "medical": "o"}
    rows = [
        {
            "id": f"{task}-{number}",
            "task": task,
            "text": f"What is in picture {number}?",
            "images": ["a.png"],
            "answer": golds[task],
            "answer_type": "custom",
            "level": level,
        }
        for number in range(20)
        for task, level in TASKS.items()
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def finished(elsewhere: Path) -> Path:
    """The folder of a run of three steps with decoupled advantages."""
    done = script("train.py", *MADE, "advantage=gdpo", "hydra.run.dir=run", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    return elsewhere / "run"


def test_every_part_of_every_function_is_logged_by_task(finished: Path) -> None:
    _, *rows = metrics(finished)
    assert len(rows) == 3
    completions = json_lines(finished / "completions.jsonl")
    for step, row in enumerate(rows, 1):
        for task, level in TASKS.items():
            own = [c for c in completions if (c["step"], c["task"]) == (step, task)]
            length = sum(len(c["completion"]) for c in own) / len(own)
            assert float(row[f"reward/letters/{task}"]) == pytest.approx(length)
            right = sum(c["answer"] in c["completion"] for c in own) / len(own)
            assert float(row[f"reward/acc/{task}"]) == pytest.approx(right)
            assert row[f"reward/accuracy/{task}"] == row[f"reward/acc/{task}"]
            assert float(row[f"reward/compute_score/{task}"]) == pytest.approx(level + right)
        assert row["reward/brevity/counting"]
        assert not {"reward/brevity/gui", "reward/format/gui", "reward/total/gui"} & set(row)
    assert (finished / "train.log").read_text().count(
        "brevity = my_reward.py:brevity: trl, completions as chat messages, called once per group"
    ) == 1


def test_completions_have_the_parts_and_the_weighted_total(finished: Path) -> None:
    rows = json_lines(finished / "completions.jsonl")
    assert {row["task"] for row in rows} == set(TASKS)
    for row in rows:
        right = float(row["answer"] in row["completion"])
        level = TASKS[row["task"]]
        brief = 1 / (1 + len(row["completion"])) if level == 1 else 0.0
        assert row["reward"] == pytest.approx(0.5 * brief + 2.0 * (level + right))
        assert ("brevity" in row["parts"]) == (level == 1)
        assert row["accuracy"] == row["parts"]["acc"] == right


def test_report_and_model_card_show_tasks_and_parts(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    assert all(f"Reward part {part}" in text for part in ("brevity", "compute_score", "letters"))
    page = parsed(text)
    assert all(word in page.one("section", id="training").text for word in ("letters", *TASKS))
    card = (finished / "checkpoints" / "final" / "README.md").read_text()
    assert all(f"| {task} | 6 |" in card for task in TASKS)


@pytest.mark.slow
def test_a_run_goes_on_and_keeps_tasks_and_parts(finished: Path, elsewhere: Path) -> None:
    shutil.copytree(finished, elsewhere / "again")
    (elsewhere / "again" / "summary.json").unlink()
    options = (*MADE, "advantage=gdpo", "resume=again", "trainer.max_steps=4")
    done = script("train.py", *options, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    rows = [row for row in metrics(elsewhere / "again") if row["reward/total"]]
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert all(row[f"reward/letters/{task}"] for row in rows for task in TASKS)


@pytest.mark.slow
def test_ranks_whose_tasks_lack_a_part_agree_on_the_columns(elsewhere: Path) -> None:
    options = ("advantage=g2rpo_decoupled", "trainer=ddp", "trainer.devices=2")
    more = ("batch.prompts_per_step=2", NO_HELDOUT, "hydra.run.dir=two")
    done = script("train.py", *MADE, *options, *more, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    rows = json_lines(elsewhere / "two" / "completions.jsonl")
    assert len({row["task"] for row in rows if row["step"] == 1}) == 2  # one prompt per rank
    assert {row["step"] for row in rows} == {1, 2, 3}


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
    shutil.copy(elsewhere / "a.png", tmp_path)
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
