"""Starts a small run, kills it with all of its ranks, and starts it again in the same folder."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from default_signals import hear_all

ROOT = Path(__file__).parents[2]
CLOCKED = ("time/", "throughput/", "memory/")
"""Metrics that differ from run to run."""
LIMIT_S = 300


def start(folder: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a run of `experiment=smoke` in its folder, or resume it."""
    checkpoints = folder / "checkpoints"
    resumes = (checkpoints / "last.ckpt").exists() or list(checkpoints.glob(".last.ckpt.old"))
    where = f"resume={folder}" if resumes else f"hydra.run.dir={folder}"
    with log(folder).open("ab") as console:
        return subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "train.py"),
                "experiment=smoke",
                "heldout=none",
                "callbacks.checkpoint.every_n_train_steps=1",
                "trainer.accelerator=cpu",
                *words,
                where,
            ],
            start_new_session=True,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=hear_all,
        )


def log(folder: Path) -> Path:
    """Everything that the runs in a folder printed."""
    return folder.parent / f"{folder.name}.log"


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a run has ended without an error."""
    try:
        assert process.wait(timeout=LIMIT_S) == 0, log(folder).read_text()
    finally:
        end(process)


def kill(process: subprocess.Popen[bytes], folder: Path, *, in_save: bool, wait_s: float) -> None:
    """Kill all ranks after another step: `wait_s` later, or in the middle of the next save."""
    try:
        before, limit_s = len(rows(folder)), time.monotonic() + LIMIT_S
        while len(rows(folder)) <= before:
            assert process.poll() is None, log(folder).read_text()
            assert time.monotonic() < limit_s, log(folder).read_text()
            time.sleep(0.02)
        if in_save:
            while not list((folder / "checkpoints").glob(".*.new")):
                assert process.poll() is None, log(folder).read_text()
        else:
            time.sleep(wait_s)
        assert process.poll() is None, log(folder).read_text()
    finally:
        end(process)


def strike(
    process: subprocess.Popen[bytes],
    folder: Path,
    *,
    signum: int,
    to_all: bool,
    after: str,
    wait_s: float,
) -> str | None:
    """Send a signal, to the run alone or to all of its processes, and wait until all have ended.

    Args:
        process: The run, which has just been started.
        folder: Its folder.
        signum: The signal.
        to_all: Whether all processes of the run get it.
        after: What the run prints before the time begins; empty for its start.
        wait_s: Seconds until the signal.

    Returns:
        What happened when; None if the run had ended by itself before.
    """
    begun, printed = log(folder).stat().st_size, b""
    while after.encode() not in printed and process.poll() is None:
        time.sleep(0.02)
        printed = log(folder).read_bytes()[begun:]
    try:
        process.wait(timeout=wait_s)
        assert process.returncode == 0, log(folder).read_text()
        return None
    except subprocess.TimeoutExpired:
        (os.killpg if to_all else os.kill)(process.pid, signum)
    try:
        code, limit_s = process.wait(timeout=LIMIT_S), time.monotonic() + LIMIT_S
        said = (
            f"{signal.Signals(signum).name} {'to all' if to_all else 'alone'} {wait_s:.2f} s after"
            f" {after or 'its start'}, at step {len(rows(folder)) - 1}, exit code {code}"
        )
        assert code in (-signum, 128 + signum), f"{said}\n{log(folder).read_text()}"
        while left := in_session(process.pid):
            assert time.monotonic() < limit_s, f"{said}: processes {left} live on"
            time.sleep(0.1)
        return said
    finally:
        end(process)


def in_session(leader: int) -> list[int]:
    """Ids of the processes of a session that live."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = file.read_text().rpartition(") ")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(file.parent.name))
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill all ranks of a run, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.csv, without those columns that measure time or memory."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith(CLOCKED)}
            for row in csv.DictReader(file)
        ]
