"""A signal ends evaluations and cold starts as it ends a run, and the printed command goes on."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.runs import ROOT, metrics, script
from default_signals import hear_all

pytestmark = [pytest.mark.process, pytest.mark.slow]
LIMIT_S = 120
EVALUATION = ("eval=quick", "eval.rows=demo", "eval.limit=24", "heldout.prompts_per_task=1")
COLD_START = (
    *("fresh=null", "stages=words", "batch_size=4"),
    *(f"stages.{stage}.steps=10" for stage in ("words", "places", "habits")),
)


def hit(number: signal.Signals, after: str, *command: str) -> tuple[int, str]:
    """Send a program a signal once it has printed `after`; return its exit code and its words."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_all,
    )
    assert process.stdout is not None
    words = ""
    for line in process.stdout:
        words += line
        if after in line:
            process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, words + rest


def go_on(words: str) -> None:
    """Run the command that a stopped program has printed."""
    (line,) = [line for line in words.splitlines() if line.startswith("next: python ")]
    _, program, *typed = shlex.split(line.removeprefix("next: "))
    again = script(program, *typed)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cold_start_saves_and_the_resumed_one_ends_as_the_unbroken_one(
    number: signal.Signals, tmp_path: Path
) -> None:
    unbroken, folder = tmp_path / "unbroken", tmp_path / "run"
    whole = script("cold_start.py", *COLD_START, f"hydra.run.dir={unbroken}")
    assert whole.returncode == 0, whole.stderr
    command = (str(ROOT / "cold_start.py"), *COLD_START, f"hydra.run.dir={folder}")
    code, words = hit(number, "step 1/", *command)
    assert code == 128 + number, words
    last = (folder / "checkpoints" / "last.ckpt").resolve()
    assert f"stopped by {number.name}: checkpoint: {last}" in words
    assert "Traceback" not in words
    assert not (folder / "final").exists()
    go_on(words)
    weights = "final/model.safetensors"
    assert (folder / weights).read_bytes() == (unbroken / weights).read_bytes()
    losses = [
        [(row["step"], row["loss/nats_per_token"]) for row in metrics(run)]
        for run in (folder, unbroken)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_an_evaluation_keeps_its_answers(number: signal.Signals, tmp_path: Path) -> None:
    unbroken, folder = tmp_path / "unbroken", tmp_path / "run"
    whole = script("evaluate.py", *EVALUATION, f"hydra.run.dir={unbroken}")
    assert whole.returncode == 0, whole.stderr
    command = (str(ROOT / "evaluate.py"), *EVALUATION, f"hydra.run.dir={folder}")
    code, words = hit(number, "chartqa 16/", *command)
    assert code == 128 + number, words
    assert f"stopped by {number.name}: answers to benchmarks are kept in {folder / 'eval'}" in words
    assert "Traceback" not in words
    assert not (folder / "summary.json").exists()
    go_on(words)
    scores = [
        json.loads((f / "summary.json").read_text())["benchmarks"] for f in (unbroken, folder)
    ]
    assert scores[0] == scores[1] != {}


@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "pilot.py"])
def test_ctrl_c_at_the_start_is_one_line(program: str, tmp_path: Path) -> None:
    command = (str(ROOT / program), f"hydra.run.dir={tmp_path / 'run'}")
    code, words = hit(signal.SIGINT, "choices: ", *command)
    assert code == 130, words
    assert "stopped by SIGINT" in words
    assert "Traceback" not in words
