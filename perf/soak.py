"""Trains many tiny steps and prints whether memory, files or the time of a step grow.

    python perf/soak.py [steps] [group=choice ...] [key=value ...]

The run is an ordinary one with validations, a benchmark, checkpoints and rotated completions, in a
temporary folder. Memory is the proportional set size (PSS) of the trainer and of all its child
processes. Slopes are least squares over the samples after step 200. The exit code is 1 if memory
grows by 1 MB or more per 100 steps, or if descriptors grow.
"""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L

ROOT = Path(__file__).parents[1]
STEPS, WARM, EVERY = 2000, 200, 10
MB = 1e6
MOST_MB = 1.0
"""Growth of memory per 100 steps at which the script fails."""
TINY = (
    "heldout=few",
    "heldout.prompts_per_task=1",
    "eval.benchmarks=[chartqa]",
    "eval.rows=demo",
    "eval.limit=4",
    "trainer.val_check_interval=100",
    "trainer.accelerator=cpu",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "filter=none",
    "rollout.max_new_tokens=4",
    "gradient_conflict.every_n_steps=50",
    "callbacks.run_files.part_mb=0.25",
    "+callbacks.soak._target_=soak.Growth",
)
COLUMNS = ("step", "pss", "descriptors", "files", "bytes", "seconds", "cpu")


class Growth(L.Callback):
    """Appends a row of `COLUMNS` to the file named in `$SOAK` every `EVERY` steps."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure; sizes are in bytes. `cpu` is the time of the trainer's own process."""
        if trainer.global_step % EVERY:
            return
        files = [p for p in Path(trainer.default_root_dir).rglob("*") if p.is_file()]
        row = (
            trainer.global_step,
            sum(map(pss, family(os.getpid()))),
            len(os.listdir("/proc/self/fd")),
            len(files),
            sum(p.stat().st_size for p in files),
            time.monotonic(),
            time.process_time(),
        )
        with Path(os.environ["SOAK"]).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").glob("*/children")
        for child in thread.read_text().split()
    ]
    return [pid, *(member for child in children for member in family(child))]


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def slope(steps: list[float], values: list[float]) -> float:
    """Return the growth per 100 steps."""
    return 100 * statistics.linear_regression(steps, values).slope


def measured(steps: int, words: list[str]) -> tuple[list[dict[str, float]], Path]:
    """Train in a temporary folder; return the samples and the size of the report."""
    out = Path(tempfile.mkdtemp(prefix="soak"))
    table = out / "growth.csv"
    search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"SOAK": str(table), "PYTHONPATH": search}
    run = [sys.executable, str(ROOT / "train.py"), *TINY, f"trainer.max_steps={steps}", *words]
    subprocess.run([*run, f"hydra.run.dir={out / 'run'}"], env=environment, cwd=ROOT, check=True)
    with table.open(newline="") as file:
        rows = csv.DictReader(file, COLUMNS)
        return [{name: float(value) for name, value in row.items()} for row in rows], out / "run"


def main() -> None:
    """Print the table; fail if memory or descriptors grow."""
    steps, words = STEPS, sys.argv[1:]
    if words and words[0].isdigit():
        steps = int(words.pop(0))
    rows, folder = measured(steps, words)
    late = [row for row in rows if row["step"] >= WARM]
    at = [row["step"] for row in late]
    first, last = late[0], late[-1]
    print(
        f"{steps} steps, samples from step {first['step']:.0f} on\n| what | start | end | slope |"
    )
    print("|---|---|---|---|")
    growth = slope(at, [row["pss"] for row in late]) / MB
    print(f"| memory, MB | {first['pss'] / MB:.1f} | {last['pss'] / MB:.1f} | {growth:+.3f} |")
    for name in ("descriptors", "files"):
        rise = slope(at, [row[name] for row in late])
        print(f"| {name} | {first[name]:.0f} | {last[name]:.0f} | {rise:+.3f} |")
    rise = slope(at, [row["bytes"] for row in late]) / MB
    print(f"| files, MB | {first['bytes'] / MB:.1f} | {last['bytes'] / MB:.1f} | {rise:+.3f} |")
    for name, what in (("seconds", "seconds per step"), ("cpu", "CPU seconds per step")):
        taken = [(b[name] - a[name]) / (b["step"] - a["step"]) for a, b in pairwise(late)]
        part = max(1, len(taken) // 5)
        begin, end = statistics.median(taken[:part]), statistics.median(taken[-part:])
        print(f"| {what} | {begin:.3f} | {end:.3f} | |")
    print(f"report.html: {(folder / 'report.html').stat().st_size / MB:.2f} MB; run: {folder}")
    flat = max(row["descriptors"] for row in late) <= first["descriptors"] + 2
    if growth >= MOST_MB or not flat:
        sys.exit(f"grows: memory {growth:+.3f} MB per 100 steps, descriptors flat: {flat}")


if __name__ == "__main__":
    main()
