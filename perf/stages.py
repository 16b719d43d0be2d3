"""Print how the time of a run's steps is divided.

    python perf/stages.py <run folder>

Numbers are medians over all steps except the first, from metrics.csv. Overhead is everything except
generation (vision, prefill, decode), forward and backward passes and the optimizer.
"""

import csv
import statistics
import sys
from pathlib import Path

from g2rpo.stopwatch import STAGES

WORK = ("vision", "prefill", "decode", "forward", "backward", "optimizer")


def main() -> None:
    """Print a row per stage."""
    with (Path(sys.argv[1]) / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    step = [float(row["time/step_s"]) for row in rows]
    print(
        f"{len(rows)} steps, median {statistics.median(step):.2f} s\n| stage | share of a step"
        " |\n|---|---|"
    )
    for name in STAGES:
        share = statistics.median(
            float(row[f"time/{name}_s"]) / whole for row, whole in zip(rows, step, strict=True)
        )
        print(f"| {name} | {share:.1%} |")
    # An upper bound: when groups are filtered, further draws are part of the step already.
    first_draw = [float(row["time/data_s"]) for row in rows]
    work = [sum(float(row[f"time/{name}_s"]) for name in WORK) for row in rows]
    over = [
        (whole + drawn - used) / (whole + drawn)
        for whole, drawn, used in zip(step, first_draw, work, strict=True)
    ]
    print(f"| overhead, data included | {statistics.median(over):.1%} |")


if __name__ == "__main__":
    main()
