"""Print the held-out scores of finished runs as a markdown table.

python perf/demo_table.py <run folder> [<run folder> ...]
"""

import json
import sys
from pathlib import Path

from g2rpo.data.gym.source import TASKS


def main(folders: list[str]) -> None:
    """Prints one row per task: the shipped checkpoint's score (of the first run), then each run's
    score after training.
    """
    runs = [json.loads((Path(folder) / "summary.json").read_text()) for folder in folders]
    names = [Path(folder).name for folder in folders]
    print("| task | before | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    for task in (*TASKS, "macro"):
        after = " | ".join(f"{run['heldout']['after'][task]:.3f}" for run in runs)
        print(f"| {task} | {runs[0]['heldout']['before'][task]:.3f} | {after} |")
    greedy = " | ".join(f"{run['heldout_greedy']['after']['macro']:.3f}" for run in runs)
    print(f"| macro, greedy | {runs[0]['heldout_greedy']['before']['macro']:.3f} | {greedy} |")
    print(
        "| minutes of training | | "
        + " | ".join(f"{run['stage_s']['train'] / 60:.1f}" for run in runs)
        + " |"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
