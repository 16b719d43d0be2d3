"""How much faster a gym step on a CPU is with oneDNN's products and with memory that is kept.

    python perf/cpu.py                   # medians of 5 runs of 6 steps each, in turns
    python perf/cpu.py --repeats 2 --steps 3

Runs of `train.py` take turns with and without `policy/float32_linear.py` and `allocator.py`, with
one thread. The first step of a run is left out. Seconds are those of metrics.csv; on a busy machine
only their ratio says something.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITHOUT = """
import runpy, sys
from g2rpo.policy import float32_linear

float32_linear.is_faster = lambda: False
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path("train.py", run_name="__main__")
"""
STAGES = ("vision", "prefill", "decode", "forward", "backward", "step")


def run(folder: Path, steps: int, *, plain: bool) -> dict[str, float]:
    """Train; return the median seconds of each stage."""
    how = ["-c", WITHOUT] if plain else ["train.py"]
    words = ["heldout=none", "gradient_conflict=none", "filter=none"]
    variables = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL")}
    if plain:  # changes nothing but that the allocator is left as it is
        variables["MALLOC_PERTURB_"] = "0"
    done = subprocess.run(
        [sys.executable, *how, f"trainer.max_steps={steps}", *words, f"hydra.run.dir={folder}"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-3000:])
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    return {
        stage: statistics.median(float(row[f"time/{stage}_s"]) for row in rows) for stage in STAGES
    }


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(options.repeats):
            for plain, runs in found.items():
                runs.append(run(Path(name) / f"{turn}-{plain}", options.steps, plain=plain))
                print(f"turn {turn}, {'without' if plain else 'with'}: {runs[-1]}", flush=True)
    print("| stage | without, s | with, s | speed |\n|---|---|---|---|")
    for stage in STAGES:
        before, after = (statistics.median(run[stage] for run in found[key]) for key in found)
        print(f"| {stage} | {before:.3f} | {after:.3f} | {before / after:.2f} x |")


if __name__ == "__main__":
    main()
