r"""Print how often runs keep their tasks' entropies inside a band, and what that costs.

    for seed in 0 1 2; do
        python train.py seed=$seed hydra.run.dir=outputs/none_seed$seed
        python train.py task_mix=generalist shaping=entropy_bounded seed=$seed \
            hydra.run.dir=outputs/entropy_bounded_seed$seed
    done
    python perf/entropy_holds.py outputs/none_seed? outputs/entropy_bounded_seed?

Runs are compared by their shaping; all are measured against the band of the runs that have one.
Steps count from the one after `--after`. `±` is the standard deviation over seeds, and brackets are
the 95% interval of Student's t over differences of equal seeds.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

from claims import interval, plus_minus, table
from omegaconf import OmegaConf

from g2rpo.report.file_rows import metric_rows
from g2rpo.report.settings import read_settings

Bands = dict[str, tuple[float, float]]


def main() -> None:
    """Print the table of the folders on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="finished run folders of train.py")
    parser.add_argument("--after", type=int, default=20, help="steps that do not count")
    given = parser.parse_args()
    print(holds_table(given.runs, given.after))


def holds_table(runs: list[Path], after: int) -> str:
    """Return one column per shaping: entropies, steps inside the band, and held-out scores."""
    settings = {run: read_settings(run / ".hydra", []) for run in runs}
    bands: Bands = next(dict(own.entropy_bands) for own in settings.values() if own.entropy_bands)
    groups: dict[str, list[Path]] = {}
    for run in runs:
        groups.setdefault(settings[run].choices["shaping"], []).append(run)
    tasks = list(entropies(runs[0], after))
    lines = [
        [
            f"{task}, {bands[task][0]:.3f} - {bands[task][1]:.3f} nats",
            *(
                plus_minus({seed(run): fmean(entropies(run, after)[task]) for run in own}, 3)
                for own in groups.values()
            ),
        ]
        for task in tasks
    ]
    shares = [
        {seed(run): inside_frac(entropies(run, after), bands) for run in own}
        for own in groups.values()
    ]
    lines.append(["share of tasks and steps inside", *(plus_minus(own, 3) for own in shares)])
    for name, key in (("held-out macro", "heldout"), ("held-out macro, greedy", "heldout_greedy")):
        scores = [{seed(run): macro(run, key) for run in own} for own in groups.values()]
        lines.append([name, *(plus_minus(own, 3) for own in scores)])
        lines.append(
            [f"{name}, difference", "", *(interval(own, scores[0], 3) for own in scores[1:])]
        )
    return table([f"steps after {after}", *(f"shaping={name}" for name in groups)], lines)


def entropies(run: Path, after: int) -> dict[str, list[float]]:
    """Return the entropies of each task in the steps after the first ones, in nats per token."""
    found: dict[str, list[float]] = {}
    for step, row in metric_rows(run / "metrics.csv", []).items():
        for column, value in row.items():
            name, _, task = column.rpartition("/")
            if name == "policy/entropy_nats" and step > after:
                found.setdefault(task, []).append(value)
    return found


def inside_frac(found: dict[str, list[float]], bands: Bands) -> float:
    """Return the share of all values that lie inside the band of their task.

    >>> inside_frac({"a": [0.1, 0.3], "b": [0.3, 0.9]}, {"a": (0.2, 0.4), "b": (0.2, 1.0)})
    0.75
    """
    inside = [
        bands[task][0] <= value <= bands[task][1]
        for task, values in found.items()
        for value in values
    ]
    return sum(inside) / len(inside)


def macro(run: Path, key: str) -> float:
    """Return the mean held-out score over tasks after training."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return float(summary[key]["after"]["macro"])


def seed(run: Path) -> int:
    """Return the seed of a run."""
    return int(OmegaConf.load(run / ".hydra" / "config.yaml").seed)


if __name__ == "__main__":
    main()
