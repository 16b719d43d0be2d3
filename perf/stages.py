"""Where the steps of a run spent their time. `python perf/stages.py <run folder>`

Medians over the steps but the first, from metrics.csv. Overhead is what is neither generating
(vision, prefill, decode) nor a forward pass, a backward pass or the optimizer.
"""

import csv
import statistics
import sys
from pathlib import Path

from g2rpo.stopwatch import STAGES

WORK = ("vision", "prefill", "decode", "forward", "backward", "optimizer")


def main() -> None:
    """Prints a row per stage."""
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
    first_draw = [
        float(row["time/data_s"]) for row in rows
    ]  # at most: draws of a filter lie inside the step already
    work = [sum(float(row[f"time/{name}_s"]) for name in WORK) for row in rows]
    over = [
        (whole + drawn - used) / (whole + drawn)
        for whole, drawn, used in zip(step, first_draw, work, strict=True)
    ]
    print(f"| overhead, data included | {statistics.median(over):.1%} |")


if __name__ == "__main__":
    main()
