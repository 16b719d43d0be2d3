r"""Print tables and draw figures for the paper's claims, from sweeps over three seeds.

    python perf/claims.py [folder of sweeps]

It needs these sweeps:

    python train.py -cd sweeps -cn paper_ablation -m gradient_conflict.every_n_steps=2
    python train.py -cd sweeps -cn outliers -m gradient_conflict.every_n_steps=2
    python train.py -cd sweeps -cn entropy_band -m shaping.entropy.low=0.2,0.1 \
        shaping.entropy.weight=0.2 gradient_conflict.every_n_steps=2

Numbers are means over seeds. `±` is their standard deviation (n - 1), and half the range in the two
tables of `task_tables`. Brackets are the 95% interval of Student's t over differences of equal
seeds. Figures are written to docs/claims_*.svg.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from claims_figures import (
    ablation_figure,
    entropy_figure,
    gradients_figure,
    length_figure,
    outlier_figure,
)

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.grpo import GRPO
from g2rpo.data.gym.source import TASKS
from g2rpo.report.settings import read_settings
from g2rpo.report.sweep.paper_ablation import paper_numbers
from g2rpo.report.sweep.statistics import difference, spread
from g2rpo.report.sweep.sweep_data import JobResult, SweepResult, read_sweep
from g2rpo.report.sweep.variant_scores import by_seed, variant_name

LAST = 10
"""Steps at the end of training that a number is a mean over: four prompts a task and step are few.
"""
Jobs = Mapping[str, list[JobResult]]


def main() -> None:
    """Print all tables and draw all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sweeps",
        type=Path,
        nargs="?",
        default=Path("outputs/sweeps"),
        help="holds paper_ablation, outliers, ...",
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where figures go")
    given = parser.parse_args()
    ablation, outliers, bands = (
        named(read_sweep(given.sweeps / name))
        for name in ("paper_ablation", "outliers", "entropy_band")
    )
    clean = {name: ablation[name] for name in outliers}
    weights = {
        "grpo": ablation["grpo"],
        "g2rpo": ablation["g2rpo"],
        "weight 0.02": ablation["entropy"],
    }
    weights |= {name.replace("=", " "): jobs for name, jobs in bands.items()}
    tables = (
        gradients_table(ablation),
        *task_tables({name: ablation[name] for name in ("grpo", "g2rpo")}),
        outlier_table(clean, outliers),
        one_group(),
        entropy_table(weights),
        length_table(ablation),
        order(ablation),
    )
    print("\n\n".join(tables))
    figures = {
        "gradients": gradients_figure(ablation["grpo"], ablation["g2rpo"]),
        "outliers": outlier_figure(clean, outliers),
        "entropy": entropy_figure(weights),
        "length": length_figure(ablation),
        "ablation": ablation_figure(read_sweep(given.sweeps / "paper_ablation", against="g2rpo")),
    }
    for name, svg in figures.items():
        (given.out / f"claims_{name}.svg").write_text(svg, encoding="utf-8")


def named(sweep: SweepResult) -> dict[str, list[JobResult]]:
    """Finished jobs by the name of their variant. Exits where one has not finished: a table of some
    seeds would look like one of all.
    """
    if missing := [job.name for job in sweep.jobs if job.state != "finished"]:
        raise SystemExit(
            f"{sweep.folder}: not finished: {', '.join(missing)}; the sweep's command again runs"
            " only these"
        )
    return {variant_name(variant): jobs for variant, jobs in sweep.variants.items()}


def gradients_table(rows: Jobs) -> str:
    """How many times harder the strongest task pulls than the weakest."""
    found = {
        name: {job.seed: pull_ratio(job) for job in rows[name]}
        for name in ("grpo", "g2rpo", "entropy", "length", "full")
    }
    lines = [
        [name, plus_minus(own, 2), "" if name == "grpo" else interval(own, found["grpo"], 2)]
        for name, own in found.items()
    ]
    return table(["largest / smallest gradient norm of a task", "", "difference to grpo"], lines)


def pull_ratio(job: JobResult) -> float:
    """Of the tasks' mean norms over the run's probes."""
    norms = [fmean(values_of(job, f"gradient/norm/{task}")) for task in TASKS]
    return max(norms) / min(norms)


def task_tables(rows: Jobs) -> tuple[str, str]:
    """Return held-out accuracy and gradients per task, with half the range over seeds."""

    def lines(names: Sequence[str], number: Callable[[JobResult, str], float]) -> list[list[str]]:
        return [
            [
                name,
                *(half_range([number(job, name) for job in jobs]) for jobs in rows.values()),
            ]
            for name in names
        ]

    gradients = [
        *lines(TASKS, lambda job, task: fmean(values_of(job, f"gradient/norm/{task}"))),
        *lines(["largest / smallest, per probe"], lambda job, _: probe_ratio(job)),
        *lines(["largest / smallest, of the means"], lambda job, _: pull_ratio(job)),
        *lines(["smallest cosine"], lambda job, _: fmean(values_of(job, "gradient/min_cosine"))),
    ]
    accuracies = lines([*TASKS, "macro"], lambda job, task: job.scores[task])
    return (
        table(["accuracy after training", *rows], accuracies),
        table(["gradient norm", *rows], gradients),
    )


def probe_ratio(job: JobResult) -> float:
    """Return the geometric mean over probes of the largest over the smallest gradient norm."""
    return math.exp(fmean(math.log(ratio) for ratio in values_of(job, "gradient/norm_ratio")))


def half_range(values: Sequence[float]) -> str:
    """Return the mean and half the range as text."""
    digits = 3 if abs(fmean(values)) < 1 else 2
    return f"{fmean(values):.{digits}f} ± {(max(values) - min(values)) / 2:.{digits}f}"


def outlier_table(clean: Jobs, wrong: Jobs) -> str:
    """What errors of the verifier cost an estimator, and whose accuracy is left."""
    lines = []
    for name in clean:
        before, after = by_seed(clean[name], "macro"), by_seed(wrong[name], "macro")
        pulls = [per_seed(jobs[name], pull_ratio) for jobs in (clean, wrong)]
        lines.append(
            [
                name,
                plus_minus(before, 3),
                plus_minus(after, 3),
                interval(after, before, 3),
                *(plus_minus(pull, 2) for pull in pulls),
            ]
        )
    head = [
        "estimator",
        "held-out macro, verifier right",
        "errs in 5 %",
        "difference",
        "largest / smallest norm, right",
        "errs in 5 %",
    ]
    return table(head, lines)


def one_group() -> str:
    """Advantages in a group with an outlier, and without it."""
    rewards = torch.tensor([1.5, 1.5, 1.5, 1.0, 0.5, 0.1, 0.0, 0.0])
    lines = []
    for name, advantage in (("grpo", GRPO()), ("g2rpo", G2RPO())):
        for first in (0.0, 10.0):
            given = rewards + first * torch.eye(8)[0]
            found = advantage(
                given, torch.zeros(8, dtype=torch.long), torch.zeros(8, dtype=torch.long)
            )
            lines.append(
                [
                    name,
                    *(
                        f"{reward:g}: {value:+.2f}"
                        for reward, value in zip(given.tolist(), found.tolist(), strict=True)
                    ),
                ]
            )
    return table(["reward: advantage", *[""] * 8], lines)


def entropy_table(rows: Jobs) -> str:
    """Where each task's entropy ends, how often it lies inside the variant's band, and what that
    costs.
    """
    lines = [
        [
            task,
            *(
                plus_minus(per_seed(jobs, end_of(f"policy/entropy_nats/{task}")), 3)
                for jobs in rows.values()
            ),
        ]
        for task in TASKS
    ]
    lines += [
        [
            "share of tasks and steps inside its band",
            *(
                plus_minus(per_seed(jobs, inside_frac), 2) if banded(jobs) else ""
                for jobs in rows.values()
            ),
        ],
        [
            "held-out macro, temperature 1",
            *(plus_minus(by_seed(jobs, "macro"), 3) for jobs in rows.values()),
        ],
        [
            "held-out macro, greedy",
            *(plus_minus(per_seed(jobs, greedy), 3) for jobs in rows.values()),
        ],
    ]
    return table([f"entropy, nats, last {LAST} steps", *rows], lines)


def banded(jobs: Sequence[JobResult]) -> bool:
    """Whether a variant has an entropy band."""
    return bool(read_settings(jobs[0].folder / ".hydra", []).entropy_bands)


def greedy(job: JobResult) -> float:
    """Held-out macro score of the most probable answers."""
    return job.greedy["macro"]


def inside_frac(job: JobResult) -> float:
    """Share of the last steps' task means that lie in the job's band."""
    bands = read_settings(job.folder / ".hydra", []).entropy_bands
    values = [
        (value, bands[task])
        for task in TASKS
        for value in values_of(job, f"policy/entropy_nats/{task}")[-LAST:]
    ]
    return sum(low <= value <= high for value, (low, high) in values) / len(values)


def length_table(rows: Jobs) -> str:
    """How long answers end, and how many of the right ones are of a length that is paid in full."""
    bands = read_settings(rows["length"][0].folder / ".hydra", []).length_bands
    lines = []
    for task in TASKS:
        low, high = bands[task][1:3]
        tokens = [
            plus_minus(per_seed(rows[name], end_of(f"rollout/completion_tokens/{task}")), 1)
            for name in ("g2rpo", "length")
        ]
        shares = {
            name: per_seed(rows[name], paid_frac_of(task, low, high))
            for name in ("g2rpo", "length")
        }
        paid = [plus_minus(share, 2) for share in shares.values()]
        lines.append(
            [
                task,
                f"{low:g} - {high:g}",
                *tokens,
                *paid,
                interval(shares["length"], shares["g2rpo"], 2),
            ]
        )
    return table(
        [
            "task",
            "paid in full, tokens",
            "g2rpo, tokens",
            "length",
            "right answers paid in full, g2rpo",
            "length",
            "difference",
        ],
        lines,
    )


def paid_frac_of(task: str, low: float, high: float) -> Callable[[JobResult], float]:
    """Share of a task's right completions of the last steps whose length lies on the plateau."""

    def share(job: JobResult) -> float:
        rows = [
            json.loads(line)
            for line in (job.folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        first = max(row["step"] for row in rows) - LAST
        tokens = [
            row["completion_tokens"]
            for row in rows
            if row["task"] == task and row["step"] > first and row["accuracy"] >= 0.5
        ]
        return sum(low <= count <= high for count in tokens) / len(tokens)

    return share


def order(rows: Jobs) -> str:
    """The paper's Table 4 beside ours."""
    theirs = paper_numbers()["rows"]
    lines = []
    for name, jobs in rows.items():
        own = by_seed(jobs, "macro")
        gains = [
            interval(own, by_seed(rows[other], "macro"), 3) if name not in ("base", other) else ""
            for other in ("grpo", "g2rpo")
        ]
        gained = theirs[name]["macro"] - theirs["grpo"]["macro"]
        lines.append(
            [
                name,
                plus_minus(own, 3),
                *gains,
                plus_minus(per_seed(jobs, greedy), 3),
                f"{theirs[name]['macro']:.1f} ({gained:+.1f})",
            ]
        )
    return table(
        [
            "row",
            "held-out macro",
            "over grpo",
            "over g2rpo",
            "greedy",
            "paper, percent (over grpo)",
        ],
        lines,
    )


def per_seed(jobs: Sequence[JobResult], number: Callable[[JobResult], float]) -> dict[str, float]:
    """A number of each job, by seed."""
    return {job.seed: number(job) for job in jobs}


def end_of(column: str) -> Callable[[JobResult], float]:
    """Mean of a column over the last steps."""
    return lambda job: fmean(values_of(job, column)[-LAST:])


def values_of(job: JobResult, column: str) -> list[float]:
    """A column of metrics.csv in the order of steps, those left out that have none."""
    return [row[column] for _, row in sorted(job.metrics.items()) if column in row]


def plus_minus(values: Mapping[str, float], digits: int) -> str:
    """Mean and standard deviation over seeds; the mean alone where they agree."""
    own = spread(list(values.values()))
    return f"{own.mean:.{digits}f}" + (f" ± {own.std:.{digits}f}" if own.std else "")


def interval(own: Mapping[str, float], other: Mapping[str, float], digits: int) -> str:
    """Mean difference of equal seeds and its interval; bold where the interval leaves out zero."""
    found = difference(own, other)
    text = (
        f"{found.mean:+.{digits}f} [{found.mean - found.half:+.{digits}f},"
        f" {found.mean + found.half:+.{digits}f}]"
    )
    return f"**{text}**" if math.isfinite(found.half) and abs(found.mean) > found.half else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In markdown."""
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)
    )


if __name__ == "__main__":
    main()
