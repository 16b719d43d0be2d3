"""Train on the gym in turns and one batch ahead, and compare held-out scores over seeds.

    OMP_NUM_THREADS=1 python perf/ahead_gym.py [key=value ...] [--seeds 0 1 2]

The engine is a copy of the policy in another thread, which gets the weights as a server would. With
seeds, the mean difference of the held-out macro score has to be within 0.015; exit code 1 if not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 0.015
ENGINE = ("rollout=vllm_server", "rollout._target_=simulated_engines.CopiedPolicy")


def macro(ahead: int, seed: int, words: list[str]) -> tuple[float, float]:
    """Train a run and return its held-out macro score, sampled and greedy."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), *ENGINE, f"rollout.ahead={ahead}"]
        paths = [str(ROOT / "perf"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        subprocess.run(
            [*command, f"seed={seed}", f"hydra.run.dir={folder}", *words],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        summary = json.loads((Path(folder) / "summary.json").read_text())
    return summary["heldout"]["after"]["macro"], summary["heldout_greedy"]["after"]["macro"]


def main() -> int:
    """Print a row per seed and the means; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("words", nargs="*", help="settings of both runs")
    args = parser.parse_args()
    pairs = []
    print("seed  in turns (greedy)  ahead=1 (greedy)  difference")
    for seed in args.seeds:
        turns, ahead = (macro(number, seed, args.words) for number in (0, 1))
        pairs.append((turns[0], ahead[0]))
        print(
            f"{seed:4}  {turns[0]:8.3f} ({turns[1]:.3f})  {ahead[0]:8.3f} ({ahead[1]:.3f})"
            f"  {ahead[0] - turns[0]:+.3f}",
            flush=True,
        )
    difference = statistics.fmean(ahead - turns for turns, ahead in pairs)
    print(f"mean  {difference:+.4f}, allowed {MOST}")
    return int(abs(difference) > MOST)


if __name__ == "__main__":
    sys.exit(main())
