"""A signal ends a run after its step, with a checkpoint, a report and the exit code of a shell; the
run goes on with `resume=last`.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from default_signals import hear_all

from g2rpo.training.interrupt import StopOnSignal, Stopped

SMALL = (
    "model=folder",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "rollout.max_new_tokens=4",
    "heldout=none",
    "filter=none",
    "reward_workers=inline",
    "gradient_conflict=none",
    "task_mix=math",
)


def send(number: signal.Signals) -> None:
    """Send this process a signal and give its handler time to run."""
    os.kill(os.getpid(), number)
    time.sleep(0.05)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGUSR1, 138),
        (signal.SIGHUP, 129),
    ],
)
def test_a_signal_saves_reports_and_exits_and_last_goes_on(
    root: Path, tiny_folder: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, str(root / "train.py"), *SMALL, f"model.path={tiny_folder}"]
    process = subprocess.Popen(
        [*command, "trainer.max_steps=100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_all,
    )
    deadline_s = time.monotonic() + 120
    while (
        not (found := list(tmp_path.glob("outputs/*/*/metrics.csv")))
        or len(found[0].read_text().splitlines()) < 4
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    process.send_signal(number)
    words, _ = process.communicate(timeout=120)
    assert process.returncode == code, words
    (metrics,) = tmp_path.glob("outputs/*/*/metrics.csv")
    folder = metrics.parent
    assert f"checkpoint: {(folder / 'checkpoints' / 'last.ckpt').resolve()}" in words
    assert f"report: {(folder / 'report.html').resolve()}" in words
    with metrics.open(newline="") as file:
        done = int(list(csv.DictReader(file))[-1]["step"])
    again = subprocess.run(
        [*command, "resume=last", f"trainer.max_steps={done + 1}"],
        cwd=tmp_path,
        env=os.environ,
        check=False,
    )
    assert again.returncode == 0
    with metrics.open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, done + 2))
    assert (folder / "summary.json").exists()


def test_outside_of_training_a_signal_stops_at_once_and_handlers_are_put_back(
    tmp_path: Path,
) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Stopped) as caught, StopOnSignal(folder=tmp_path).listening():
        send(signal.SIGUSR1)
    assert (caught.value.exit_code, caught.value.checkpoint) == (138, None)
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_during_training_a_signal_waits_and_a_second_one_does_not(
    tmp_path: Path, second: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2rpo.training.interrupt.ECHO_S", 0.0)
    monkeypatch.setattr("g2rpo.training.interrupt._is_ignored_hangup", lambda signum: False)
    stop = StopOnSignal(folder=tmp_path)
    with stop.listening():
        stop._in_training = True
        send(signal.SIGTERM)
        with pytest.raises(Stopped, match=f"stopped by {second.name}"):
            send(second)


def test_a_signal_that_a_launcher_repeats_at_once_counts_once(tmp_path: Path) -> None:
    stop = StopOnSignal(folder=tmp_path)
    with stop.listening():
        stop._in_training = True
        send(signal.SIGTERM)
        send(signal.SIGTERM)


def test_a_hangup_that_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopOnSignal(folder=tmp_path).listening():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
