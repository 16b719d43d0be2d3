"""What a sweep over advantages and seeds came to, as markdown tables.  `python perf/estimators.py <sweep folder>`

    python train.py -m advantage=grpo,g2rpo seed=0,1,2 gradient_conflict.every_n_steps=2
    hydra.sweep.dir=outputs/estimators

Three tables: held-out accuracy by task, how evenly the tasks pull, and the entropy at the end.
Numbers are mean +- half the range over seeds, with three seeds the honest measure of spread.
"""

import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from g2rpo.records import TASKS

LAST_STEPS = 5
"""Entropy at the end is a mean over so many steps: four prompts a task are few."""


def main(folder: str) -> None:
    """Reads every finished run below `folder` and prints the tables."""
    runs: dict[str, list[Path]] = defaultdict(list)
    for summary in sorted(Path(folder).glob("*/summary.json")):
        choices = yaml.safe_load((summary.parent / ".hydra" / "hydra.yaml").read_text())["hydra"][
            "runtime"
        ]["choices"]
        runs[choices["advantage"]].append(summary.parent)
    if not runs:
        raise SystemExit(
            f"{folder}: no finished run below it; expected <folder>/<number>/summary.json"
        )
    print("runs: " + ", ".join(f"{name} x {len(own)}" for name, own in runs.items()) + "\n")
    table(
        "accuracy after training",
        (*TASKS, "macro"),
        runs,
        lambda run, task: summary_of(run)["heldout"]["after"][task],
    )
    print()
    table("gradient norm", TASKS, runs, lambda run, task: mean_of(run, f"gradient/norm/{task}"))
    table(None, ("largest / smallest, per probe", "largest / smallest, of the means"), runs, ratio)
    table(None, ("smallest cosine",), runs, lambda run, _: mean_of(run, "gradient/min_cosine"))
    print()
    table(
        f"entropy, last {LAST_STEPS} steps",
        TASKS,
        runs,
        lambda run, task: mean_of(run, f"policy/entropy_nats/{task}", last=LAST_STEPS),
    )


def table(
    title: str | None,
    rows: Sequence[str],
    runs: dict[str, list[Path]],
    number: Callable[[Path, str], float],
) -> None:
    """One row per name; without a title, more rows of the table before."""
    if title:
        print(f"| {title} | " + " | ".join(runs) + " |\n|---|" + "---|" * len(runs))
    for row in rows:
        print(
            f"| {row} | "
            + " | ".join(spread([number(run, row) for run in own]) for own in runs.values())
            + " |"
        )


def spread(values: Sequence[float]) -> str:
    """Mean and half the range."""
    digits = 3 if abs(fmean(values)) < 1 else 2
    return f"{fmean(values):.{digits}f} ± {(max(values) - min(values)) / 2:.{digits}f}"


def ratio(run: Path, which: str) -> float:
    """How unevenly tasks pull: mean over probes (geometric), or ratio of each task's mean norm,
    which has less noise in it.
    """
    if which.endswith("per probe"):
        return math.exp(fmean(math.log(value) for value in column(run, "gradient/norm_ratio")))
    norms = [mean_of(run, f"gradient/norm/{task}") for task in TASKS]
    return max(norms) / min(norms)


def mean_of(run: Path, name: str, *, last: int = 0) -> float:
    """Mean of a column of metrics.csv, over the last rows that have it or over all."""
    return fmean(column(run, name)[-last:])


def column(run: Path, name: str) -> list[float]:
    """The values of a column, those rows left out that have none."""
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def summary_of(run: Path) -> dict[str, Any]:
    """summary.json."""
    return json.loads((run / "summary.json").read_text())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
