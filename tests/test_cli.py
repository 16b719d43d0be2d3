"""The entry points as a person uses them: a whole run, a killed and resumed one, and every wrong
input in one clear sentence.
"""

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from report.pages import loaded, parsed

from g2rpo import cli
from g2rpo.data.gym.source import GymSource
from g2rpo.metrics import metric_of
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import TASKS

ROOT = Path(__file__).parents[1]
SMALL = (
    "model=folder",
    "trainer.max_steps=2",
    "batch.prompts_per_step=4",
    "batch.group_size=2",
    "rollout.max_new_tokens=8",
    "heldout.prompts_per_task=2",
    "filter=none",
)

NO_HELDOUT = "heldout.prompts_per_task=0"
LENGTH_PAYS = ("~reward", "+reward={_target_: misbehaving.LengthPays}")

PLUG_INS = '''
import os

import torch

from g2rpo.data.gym.source import GymSource
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.records import Prompt
from g2rpo.rollout.hf import HFEngine


class Broken(GymSource):
    """The gym, but the picture of every chart is a file that is none."""

    def __init__(self, *, file: str) -> None:
        super().__init__()
        self.file = file

    def get(self, task: str, index: int, split: str) -> Prompt:
        prompt = super().get(task, index, split)
        images = (self.file,) if task == "chart" else prompt.images
        return Prompt(id=prompt.id, task=task, text=prompt.text, images=images, answer=prompt.answer, answer_type=prompt.answer_type)


class Refusing:
    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        raise ZeroDivisionError("no verdict")


class LengthPays:
    """Some variety in the rewards of a random model: the accuracy grows with the length of the text."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = min(1.0, len(completion) / 40)
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


class SwitchedOff(HFEngine):
    """An engine that ends the run in the middle of a step, like a machine that is switched off: no handler, no clean-up."""

    def __init__(self, *, dies_in_step: int, **options) -> None:
        super().__init__(**options)
        self.left = dies_in_step

    def generate(self, batch, sampling, seed):
        self.left -= 1
        if self.left == 0:
            os._exit(9)
        return super().generate(batch, sampling, seed)


class NoNumber(ClipLoss):
    def __call__(self, *args, **options):
        value, stats = super().__call__(*args, **options)
        return value * float("nan"), stats
'''


@pytest.fixture(scope="module")
def plug_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the repository with sources, rewards and a loss that misbehave."""
    folder = tmp_path_factory.mktemp("plug_ins")
    (folder / "misbehaving.py").write_text(PLUG_INS)
    return folder


def script(
    name: str, *options: str, path: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    env = os.environ | (
        {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))}
        if path
        else {}
    )
    return subprocess.run(
        [sys.executable, str(ROOT / name), *options],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps, started like a person would."""
    cwd = tmp_path_factory.mktemp("somewhere")
    done = script("train.py", *SMALL, f"model.path={tiny_folder}", "hydra.run.dir=run", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


@pytest.fixture
def train(
    composed: Callable[..., Any],
    tiny_folder: Path,
    plug_ins: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:
    """`train("advantage=grpo")`: the same run with these options, in this process; returns its
    folder.
    """
    monkeypatch.syspath_prepend(plug_ins)

    def run(*options: str, folder: str = "run", entry: Callable[[Any], float] = cli.train) -> Path:
        given = (
            []
            if any(option.startswith(("model=", "model.path=")) for option in options)
            else [f"model.path={tiny_folder}"]
        )
        entry(composed(*SMALL, *given, *options, f"run_dir={tmp_path / folder}"))
        return tmp_path / folder

    return run


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def untimed(folder: Path) -> list[dict[str, str]]:
    return [
        {name: cell for name, cell in row.items() if not name.startswith("time/")}
        for row in metrics(folder)
    ]


def json_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_a_run_writes_one_row_of_declared_numbers_a_step(finished: Path) -> None:
    validated, *rows = metrics(finished)
    assert [row["step"] for row in (validated, *rows)] == ["0", "1", "2"]
    assert {name.partition("/")[0] for name, cell in validated.items() if cell} == {"step", "val"}
    columns = [name for name in rows[0] if name != "step"]
    assert {name for name in columns if metric_of(name).unit == ""} == set()
    # four prompts of six tasks a step: cells of a task that had none are empty, before its first
    # prompt and after its last
    completions = json_lines(finished / "completions.jsonl")
    for step, row in enumerate(rows, start=1):
        seen = {completion["task"] for completion in completions if completion["step"] == step}
        assert (
            {task for task in TASKS if row[f"reward/accuracy/{task}"]}
            == seen
            == {task for task in TASKS if row[f"advantage/std/{task}"]}
        )
        assert len(seen) == 4
    promised = ["reward/total", "loss/clip_frac", "time/step_s", "time/rollout_s", "time/update_s"]
    promised += [
        f"{name}/math"
        for name in (
            "reward/accuracy",
            "advantage/std",
            "policy/entropy_nats",
            "rollout/completion_tokens",
        )
    ]
    assert [name for name in promised if not math.isfinite(float(rows[0][name]))] == []


def test_a_run_writes_every_completion_with_its_verdict(finished: Path) -> None:
    rows = json_lines(finished / "completions.jsonl")
    assert [row["step"] for row in rows] == [1] * 8 + [2] * 8
    assert {tuple(row) for row in rows} == {
        (
            "step",
            "rollout_batch",
            "task",
            "prompt_id",
            "prompt",
            "answer",
            "completion",
            "reward",
            "accuracy",
            "format",
            "advantage",
            "completion_tokens",
            "finished",
            "ended_by",
            "parts",
        )
    }
    logged = [float(row["reward/total"]) for row in metrics(finished) if row["reward/total"]]
    means = [sum(row["reward"] for row in rows if row["step"] == step) / 8 for step in (1, 2)]
    assert means == pytest.approx(logged, abs=1e-6)
    assert all(1 <= row["completion_tokens"] <= 8 for row in rows)
    assert all(
        row["parts"]["accuracy"] == row["accuracy"] and {"format", "structure"} <= set(row["parts"])
        for row in rows
    )
    assert {path.stem for path in (finished / "images").iterdir()} == {
        row["prompt_id"].replace("/", "-") + "-0" for row in rows
    }


def test_a_run_says_once_that_its_completions_are_cut_and_which_key_to_raise(
    finished: Path,
) -> None:
    rows = json_lines(finished / "completions.jsonl")
    assert {row["ended_by"] == "length" for row in rows if not row["finished"]} == {True}
    assert (finished / "train.log").read_text().count(
        "of completions reached rollout.max_new_tokens=8 and were cut"
    ) == 1


def test_a_run_asks_the_same_unseen_prompts_before_and_after(finished: Path) -> None:
    before, after = (
        json_lines(finished / "heldout" / f"{when}.jsonl") for when in ("before", "after")
    )
    assert [row["prompt_id"] for row in before] == [row["prompt_id"] for row in after]
    assert sorted(row["task"] for row in before) == sorted([*TASKS, *TASKS])
    assert {row["prompt_id"] for row in before} & {
        row["prompt_id"] for row in json_lines(finished / "completions.jsonl")
    } == set()
    assert all(
        len(row["samples"]) == 4 and set(row["greedy"]) == set(row["samples"][0]) for row in before
    )
    assert len(list((finished / "heldout" / "images").glob("*.png"))) == 12


def test_a_run_ends_with_a_summary_of_the_promised_keys(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["steps"], summary["benchmarks"]) == ("finished", 2, {})
    for kind in ("heldout", "heldout_greedy"):
        assert {when: set(scores) for when, scores in summary[kind].items()} == {
            "before": {"macro", *TASKS},
            "after": {"macro", *TASKS},
        }
    assert {"setup", "heldout_before", "train", "heldout_after"} <= set(summary["stage_s"])
    assert sum(summary["prompts_drawn"].values()) == 8
    assert len(summary["config_hash"]) == 12
    assert "torch" in summary["versions"]


def test_a_run_leaves_its_configuration_a_report_and_weights_that_load(finished: Path) -> None:
    assert OmegaConf.load(finished / ".hydra" / "config.yaml").rollout.max_new_tokens == 8
    page = parsed((finished / "report.html").read_text())
    assert loaded(page) == []
    assert len(page.one("section", id="training").all("img")) >= 2
    final = Checkpoint(path=str(finished / "checkpoints" / "final"))
    assert final.policy().config.model_type == "qwen3_vl"
    assert final.encoder().eos_token_id is not None
    assert (finished / "checkpoints" / "last.ckpt").is_file() or not list(
        (finished / "checkpoints").glob("*.ckpt")
    )
    assert not (finished / "error.txt").exists()
    assert list(finished.rglob("*.part")) == []


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(
    finished: Path, train: Callable[..., Path]
) -> None:
    assert untimed(train(folder="again")) == untimed(finished)
    assert untimed(train("seed=1", NO_HELDOUT, folder="other")) != untimed(finished)


def test_a_killed_and_resumed_run_has_the_numbers_of_the_unbroken_one(
    train: Callable[..., Path], tiny_folder: Path, plug_ins: Path, tmp_path: Path
) -> None:
    # ema_grpo remembers rewards, so its memory has to survive too; the process dies in its third
    # step
    options = (
        "advantage=ema_grpo",
        "trainer.max_steps=4",
        "callbacks.checkpoint.every_n_train_steps=1",
        NO_HELDOUT,
        *LENGTH_PAYS,
    )
    unbroken, killed = train(*options, folder="unbroken"), tmp_path / "killed"
    dies = (
        "rollout._target_=misbehaving.SwitchedOff",
        "+rollout.dies_in_step=3",
        f"hydra.run.dir={killed}",
    )
    done = script("train.py", *SMALL, f"model.path={tiny_folder}", *options, *dies, path=plug_ins)
    assert done.returncode == 9, done.stderr
    assert [row["step"] for row in metrics(killed)] == ["1", "2"]
    assert not (killed / "summary.json").exists()
    resumed = train(*options, f"resume={killed}", folder="killed")
    assert untimed(resumed) == untimed(unbroken)
    assert len({row["advantage/std/math"] for row in untimed(unbroken)}) > 1
    assert json_lines(resumed / "completions.jsonl") == json_lines(unbroken / "completions.jsonl")
    one, other = (
        json.loads((folder / "summary.json").read_text()) for folder in (unbroken, resumed)
    )
    assert (one["steps"], one["prompts_drawn"], one["config_hash"]) == (
        other["steps"],
        other["prompts_drawn"],
        other["config_hash"],
    )


def test_a_kl_term_loads_a_reference_and_a_run_without_one_does_not(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    reference = Checkpoint.reference
    monkeypatch.setattr(
        Checkpoint,
        "reference",
        lambda self, policy: loaded.append(self.path) or reference(self, policy),
    )
    train(NO_HELDOUT, "trainer.max_steps=1", folder="without")
    assert loaded == []
    rows = metrics(train(NO_HELDOUT, "loss.kl_coef=0.1", "optimizer.lr=1e-2", *LENGTH_PAYS))
    assert len(loaded) == 1
    assert float(rows[0]["loss/kl"]) == pytest.approx(0.0, abs=1e-7)
    assert float(rows[1]["loss/kl"]) > 1e-4


def test_evaluate_scores_a_checkpoint_without_training_it(
    finished: Path, train: Callable[..., Path]
) -> None:
    folder = train(f"model.path={finished / 'checkpoints' / 'final'}", entry=cli.evaluate)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 0)
    after = json.loads((finished / "summary.json").read_text())["heldout"]["after"]
    assert summary["heldout"]["after"] == pytest.approx(after, abs=1e-6)
    assert [row["step"] for row in metrics(folder)] == [
        "0"
    ]  # an evaluation is a validation before the first step


def complaint(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path, *options: str
) -> str:
    """What a run with these options says before it ends with exit code 1."""
    with pytest.raises(SystemExit) as stopped:
        train(*options)
    assert stopped.value.code == 1
    assert not (tmp_path / "run" / "summary.json").exists()
    assert "Traceback" in (tmp_path / "run" / "error.txt").read_text()
    message, traceback_line = caplog.records[-1].getMessage().rsplit("\n", 1)
    assert traceback_line == f"(traceback: {tmp_path / 'run' / 'error.txt'})"
    assert "Traceback" not in message
    return message


WRONG = {
    "temperature": (
        ["rollout.temperature=-1"],
        "rollout.temperature: expected 0 (greedy) or more, got -1",
    ),
    "entropy band": (
        ["shaping=entropy_bounded", "shaping.entropy.low=0.9"],
        "shaping.entropy: expected 0 <= low < high (nats per token), got low=0.9, high=0.6",
    ),
    "KL that nobody reads": (
        ["advantage=gdpo", "loss.kl_coef=0.1", "loss.kl_placement=reward"],
        (
            "loss.kl_placement=reward: this advantage ranks the parts of the reward and never looks"
            " at their sum"
        ),
    ),
    "group size": (
        ["batch.group_size=1"],
        "batch.group_size=1: G2RPO compares completions of one prompt, so it needs at least 2",
    ),
    "empty mixture": (
        [f"task_mix.weights.{task}=0" for task in TASKS],
        "task_mix.weights: expected at least one positive weight",
    ),
    "unknown task": (
        ["+task_mix.weights.maths=1.0"],
        "task_mix: unknown task 'maths'; expected one of: general_vqa, math, chart",
    ),
    "missing folder": (
        ["model.path=/no/such/folder"],
        "model.path: expected a folder with config.json or a Hub id",
    ),
    "no folder named": (
        ["model.path=???"],
        "model.path: this key has no default; add model.path=...",
    ),
    "no steps": (["trainer.max_steps=0"], "trainer.max_steps: expected at least 1"),
    "no workers": (
        ["reward_workers.workers=0"],
        (
            "reward_workers.workers: expected at least 1 process, got 0; reward_workers=inline uses"
            " none"
        ),
    ),
    "wrong type": (
        ["batch.group_size=many"],
        "batch.group_size: expected a whole number, got 'many'",
    ),
    "argument that does not exist": (["+filter.lwo=0.1"], "filter: "),
    "class that does not exist": (["reward._target_=nowhere.Reward"], "reward: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_answered_with_its_key_before_weights_are_loaded(
    name: str,
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    options, words = WRONG[name]
    message = complaint(train, caplog, tmp_path, *options)
    assert message.startswith(words)
    assert "full_key" not in message


def test_a_folder_without_checkpoint_cannot_be_resumed(
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    (tmp_path / "run").mkdir()
    message = complaint(train, caplog, tmp_path, f"resume={tmp_path / 'run'}")
    assert message.startswith("resume: expected a run folder with checkpoints/last.ckpt, got ")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["shaping=entropy_bounded", "shaping.entropy.hgih=1"], ["hgih", "shaping.entropy"]),
        (["advantage=g3rpo"], ["advantage/g3rpo", "dr_grpo", "ema_grpo", "rloo"]),
    ],
)
def test_what_hydra_refuses_is_said_with_key_or_choices(
    option: list[str], words: list[str], tmp_path: Path
) -> None:
    done = script("train.py", *option, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode != 0
    assert [word for word in words if word not in done.stderr] == []
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("kind", ["no picture", "cut short"])
def test_a_picture_that_cannot_be_read_is_named_with_its_prompt(
    kind: str, train: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    GymSource().get("chart", 0, "train").images[0].save(tmp_path / "chart.png")
    whole = (tmp_path / "chart.png").read_bytes()
    (tmp_path / "chart.png").write_bytes(
        whole[: len(whole) // 2] if kind == "cut short" else b"this is no picture"
    )
    message = complaint(
        train,
        caplog,
        tmp_path,
        NO_HELDOUT,
        "~data",
        f"+data={{_target_: misbehaving.Broken, file: {tmp_path / 'chart.png'}}}",
    )
    assert message.startswith(f"prompt 'gym/train/chart/0': image {tmp_path / 'chart.png'}: ")
    assert message.endswith(". Mend or drop the record.")


@pytest.mark.parametrize("heldout_prompts", [0, 2])
def test_a_reward_that_fails_everywhere_is_shown_with_the_first_record(
    heldout_prompts: int,
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    message = complaint(
        train,
        caplog,
        tmp_path,
        f"heldout.prompts_per_task={heldout_prompts}",
        "~reward",
        "+reward={_target_: misbehaving.Refusing}",
    )
    assert message.startswith("reward: ")
    assert "completions could not be judged" in message
    assert "ZeroDivisionError: no verdict" in message
    assert "prompt 'gym/" in message


def test_a_loss_that_is_no_number_is_named_with_its_step_and_tasks(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    message = complaint(
        train,
        caplog,
        tmp_path,
        NO_HELDOUT,
        "loss._target_=misbehaving.NoNumber",
        "gradient_conflict=none",
    )
    assert message.startswith(
        "step 1: loss became nan (tasks chart, general_vqa, math, spatial); the weights before it"
        " are in "
    )
    assert (tmp_path / "run" / "checkpoints" / "last_finite.ckpt").is_file()


@pytest.mark.slow
def test_two_processes_train_and_one_writes(tiny_folder: Path, tmp_path: Path) -> None:
    options = [
        "trainer=ddp",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
        "hydra.run.dir=run",
        f"model.path={tiny_folder}",
    ]
    done = script("train.py", *SMALL, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == [
            str(step) for step in range(summary["steps"] + 1)
        ]
    drawn = [
        json.loads(line)["prompt_id"]
        for line in (tmp_path / "run" / "completions.jsonl").read_text().split("\n")
        if line
    ]
    assert len(set(drawn)) > summary["steps"]
    assert not list((tmp_path / "run").glob("error*"))


def test_a_run_whose_report_fails_is_not_finished(
    train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr("g2rpo.report.run_page.write_report", broken)
    with pytest.raises(SystemExit):
        train("trainer.max_steps=1", NO_HELDOUT, folder="unreported")
    assert not (tmp_path / "unreported" / "summary.json").exists()
