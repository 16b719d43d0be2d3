"""Print the benchmarks of two evaluations as markdown: chance, before and after, and by task.

python evaluate.py eval=suite18 eval.rows=demo hydra.run.dir=outputs/before
python train.py eval=suite18 eval.rows=demo hydra.run.dir=outputs/demo
python perf/suite_table.py outputs/before outputs/demo
"""

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any


def main(before: str, after: str) -> None:
    """Prints one row per benchmark in the order of the paper, then means by task."""
    was, now = (
        json.loads((Path(folder) / "summary.json").read_text())["benchmarks"]
        for folder in (before, after)
    )
    print("| benchmark | chance | before | after |\n|---|---|---|---|")
    for name, found in was.items():
        print(f"| {found['published']['title']} | {_chance(found)} | {_scores(was, now, [name])} |")
    print(f"| mean of {len(was)} | | {_scores(was, now, list(was))} |")
    above = sum(found["score"] > (found["chance"] or 0) for found in was.values())
    within = sum((found["chance"] or 0) < found["score"] < 0.8 for found in was.values())
    print(f"\nbefore: {above} above chance, {within} of them below 0.8\n")
    by_task: dict[str, list[str]] = {}
    for name, found in was.items():
        by_task.setdefault(found["task"], []).append(name)
    print("| | " + " | ".join([*by_task, "mean"]) + " |\n|---|" + "---|" * (len(by_task) + 1))
    for label, entries in (("before", was), ("after", now)):
        means = [mean(entries[name]["score"] for name in names) for names in by_task.values()]
        print(
            f"| {label} | " + " | ".join(f"{value:.3f}" for value in [*means, mean(means)]) + " |"
        )


def _chance(found: dict[str, Any]) -> str:
    return "-" if found["chance"] is None else f"{found['chance']:.3f}"


def _scores(was: dict[str, Any], now: dict[str, Any], names: list[str]) -> str:
    return " | ".join(f"{mean(run[name]['score'] for name in names):.3f}" for run in (was, now))


if __name__ == "__main__":
    main(*sys.argv[1:])
