"""Seconds of a gym step on a CPU: this checkout in turns with something else.

    python perf/cpu.py                                 without oneDNN's products and kept memory
    python perf/cpu.py --against ../former             another checkout of this repository
    python perf/cpu.py --against ../former --threads 1 --python ../former/.venv/bin/python \
        model=folder model.path=../former/src/g2rpo/policy/tiny_qwen3_vl

Both sides run `train.py`, with the settings that stand at the end; the first step of a run is left
out. Seconds are medians over a run's steps, and medians over runs of those. On a busy machine only
their ratio says something.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WITHOUT = """
import runpy, sys
from g2rpo.policy import float32_linear

float32_linear.is_faster = lambda: False
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path("train.py", run_name="__main__")
"""
STAGES = ("vision", "prefill", "decode", "rollout", "forward", "backward", "update", "step")


class Side(NamedTuple):
    """One of the two that take turns."""

    name: str
    folder: Path
    command: list[str]
    variables: dict[str, str]


def sides(options: argparse.Namespace) -> tuple[Side, Side]:
    """Return the other side, and this checkout."""
    here = Side("here", ROOT, [sys.executable, "train.py"], {})
    if options.against is None:
        # changes nothing but that the allocator is left as it is
        plain = {"MALLOC_PERTURB_": "0"}
        return Side("without", ROOT, [sys.executable, "-c", WITHOUT], plain), here
    return Side("other", options.against.resolve(), [options.python, "train.py"], {}), here


def run(side: Side, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train; return the median seconds of each stage."""
    variables = {"PYTHONPATH": str(side.folder / "src"), "HF_HUB_OFFLINE": "1", **side.variables}
    if options.threads:
        variables |= {f"{name}_NUM_THREADS": str(options.threads) for name in ("OMP", "MKL")}
    words = [f"trainer.max_steps={options.steps}", "heldout=none", f"hydra.run.dir={folder}"]
    done = subprocess.run(
        [*side.command, *words, *options.settings],
        cwd=side.folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-3000:])
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    return {
        stage: statistics.median(
            float(row[f"time/{stage}_s"]) for row in rows if row[f"time/{stage}_s"]
        )
        for stage in STAGES
    }


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of both sides; left out: their default")
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--python", default=sys.executable, help="that runs the other checkout")
    parser.add_argument("settings", nargs="*", help="of both runs, as for train.py")
    options = parser.parse_args()
    both = sides(options)
    found: dict[str, list[dict[str, float]]] = {side.name: [] for side in both}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(options.repeats):
            for side in both:
                seconds = run(side, Path(name) / f"{turn}-{side.name}", options)
                found[side.name].append(seconds)
                print(f"turn {turn}, {side.name}: {seconds['step']:.3f} s a step", flush=True)
    first, second = found
    print(f"| stage | {first}, s | {second}, s | speed |\n|---|---|---|---|")
    for stage in STAGES:
        before, after = (statistics.median(run[stage] for run in runs) for runs in found.values())
        print(f"| {stage} | {before:.3f} | {after:.3f} | {before / after:.2f} x |")


if __name__ == "__main__":
    main()
