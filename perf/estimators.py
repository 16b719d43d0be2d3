r"""Print the tables and draw the figures of the study of advantage estimators on the hard gym.

    python train.py -cd sweeps -cn estimators_hard -m
    python perf/estimators.py [folder of the sweep]

The measures, their computation and the test were fixed before the study ran (docs/hard_gym.md):
each estimator against GRPO by differences of equal seeds, with the 95 % interval of Student's t,
and Holm's correction over all comparisons of the page. Seeds that one of the two has not finished
are left out, and the first table says how many are left.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, median

from claims import interval, per_seed, plus_minus, table, values_of
from estimators_figures import differences_figure, learning_figure
from scipy.stats import ttest_rel

from g2rpo.data.gym.hard import TASKS
from g2rpo.report.sweep.sweep_data import JobResult, read_sweep
from g2rpo.report.sweep.variant_scores import variant_name

REFERENCE = "grpo"
LAST = 20
"""Steps at the end of a run over which entropy is averaged."""
Jobs = Mapping[str, list[JobResult]]


def macro(job: JobResult) -> float:
    """Return the mean held-out accuracy of the tasks."""
    return job.scores["macro"]


def worst_task(job: JobResult) -> float:
    """Return the lowest held-out accuracy of a task."""
    return min(job.scores[task] for task in TASKS)


def gradient_spread(job: JobResult) -> float:
    """Return the mean over probes of ln(largest / smallest gradient norm of a pulling task)."""
    return fmean(math.log(ratio) for ratio in values_of(job, "gradient/norm_ratio"))


def final_entropy(job: JobResult) -> float:
    """Return the mean entropy of the tasks over the last steps, in nats per token."""
    return fmean(fmean(values_of(job, f"policy/entropy_nats/{task}")[-LAST:]) for task in TASKS)


def outlier_harm(job: JobResult) -> float:
    """Return how much less accurate `noisy` ends than `fair`, its twin with a right verifier."""
    return job.scores["fair"] - job.scores["noisy"]


MEASURES: Mapping[str, Callable[[JobResult], float]] = {
    "macro": macro,
    "worst task": worst_task,
    "gradient spread": gradient_spread,
    "entropy at the end": final_entropy,
    "harm by outliers": outlier_harm,
}
"""In the order of the tables; nothing else is tested."""


def main() -> None:
    """Print all tables and draw the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sweep", type=Path, nargs="?", default=Path("outputs/sweeps/estimators_hard")
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where figures go")
    given = parser.parse_args()
    jobs = finished(given.sweep)
    for text in (measures_table(jobs), differences_table(jobs), tasks_table(jobs), verdict(jobs)):
        print(text, end="\n\n")
    for name, drawn in (
        ("learning", learning_figure(jobs)),
        ("differences", differences_figure(differences(jobs))),
    ):
        (given.out / f"estimators_{name}.svg").write_text(drawn, encoding="utf-8")


def finished(folder: Path) -> dict[str, list[JobResult]]:
    """Return the finished jobs by estimator, those without any left out."""
    variants = read_sweep(folder).variants.items()
    found = {variant_name(variant): _done(jobs) for variant, jobs in variants}
    if not found.get(REFERENCE):
        raise SystemExit(f"{folder}: expected finished runs of advantage={REFERENCE}, found none")
    return {name: jobs for name, jobs in found.items() if jobs}


def _done(jobs: list[JobResult]) -> list[JobResult]:
    return [job for job in jobs if job.state == "finished"]


def measures_table(jobs: Jobs) -> str:
    """Return mean and standard deviation of every measure, and the median cost of a step."""
    head = ["estimator", "seeds", *MEASURES, "advantages, ms a step"]
    rows = [
        [
            name,
            str(len(own)),
            *(plus_minus(per_seed(own, measure), 3) for measure in MEASURES.values()),
            f"{1000 * median(t for job in own for t in values_of(job, 'time/advantage_s')):.1f}",
        ]
        for name, own in jobs.items()
    ]
    return table(head, rows)


def differences_table(jobs: Jobs) -> str:
    """Return differences to GRPO: bold where the interval leaves out zero, starred after Holm."""
    found = p_values(jobs)
    kept = holm(found)
    base = jobs[REFERENCE]
    rows = [
        [
            name,
            *(
                interval(per_seed(own, measure), per_seed(base, measure), 3)
                + (" *" if kept.get((name, label)) else "")
                for label, measure in MEASURES.items()
            ),
        ]
        for name, own in jobs.items()
        if name != REFERENCE
    ]
    return table([f"difference to {REFERENCE}", *MEASURES], rows)


def differences(jobs: Jobs) -> dict[str, dict[str, list[float]]]:
    """Return the differences to GRPO of equal seeds, by measure and estimator."""
    found: dict[str, dict[str, list[float]]] = {}
    for label, measure in MEASURES.items():
        base = per_seed(jobs[REFERENCE], measure)
        found[label] = {
            name: [value - base[seed] for seed, value in values.items() if seed in base]
            for name, own in jobs.items()
            if name != REFERENCE
            for values in [per_seed(own, measure)]
        }
    return found


def p_values(jobs: Jobs) -> dict[tuple[str, str], float]:
    """Return the p-value of the paired t-test of each estimator and measure against GRPO."""
    return {
        (name, label): paired_p(values)
        for label, own in differences(jobs).items()
        for name, values in own.items()
    }


def paired_p(values: list[float]) -> float:
    """Return the two-sided p-value of a mean of 0; 1 if all differences are 0 or too few.

    >>> round(paired_p([1.0, 2.0, 3.0]), 4)
    0.0742
    >>> paired_p([0.0, 0.0])
    1.0
    """
    if len(values) < 2 or not any(values):
        return 1.0
    return float(ttest_rel(values, [0.0] * len(values)).pvalue)


def holm(
    found: Mapping[tuple[str, str], float], level: float = 0.05
) -> dict[tuple[str, str], bool]:
    """Return which p-values Holm's step-down procedure rejects at a family-wise level.

    >>> sorted(holm({("a", ""): 0.01, ("b", ""): 0.04, ("c", ""): 0.03}).values())
    [False, False, True]
    """
    kept: dict[tuple[str, str], bool] = {}
    rejecting = True
    for rank, (key, p) in enumerate(sorted(found.items(), key=lambda pair: pair[1])):
        rejecting = rejecting and p <= level / (len(found) - rank)
        kept[key] = rejecting
    return kept


def tasks_table(jobs: Jobs) -> str:
    """Return the held-out accuracy of every task; nothing here is tested."""
    rows = [
        [name, *(plus_minus(per_seed(own, lambda job, t=task: job.scores[t]), 2) for task in TASKS)]
        for name, own in jobs.items()
    ]
    return table(["held-out accuracy", *TASKS], rows)


def verdict(jobs: Jobs) -> str:
    """Return the estimators that differ from GRPO in some measure, before and after Holm."""
    inside = {
        name
        for own in differences(jobs).values()
        for name, values in own.items()
        if paired_p(values) < 0.05  # the same as a 95 % interval that leaves out zero
    }
    kept = {name for (name, _), rejected in holm(p_values(jobs)).items() if rejected}
    others = [name for name in jobs if name != REFERENCE]
    return (
        f"{len(inside)} of {len(others)} estimators differ from {REFERENCE} beyond the 95 %"
        f" interval in some measure: {', '.join(n for n in others if n in inside)}.\nAfter Holm"
        f" over {len(others) * len(MEASURES)} comparisons {len(kept)} do:"
        f" {', '.join(n for n in others if n in kept)}."
    )


if __name__ == "__main__":
    main()
