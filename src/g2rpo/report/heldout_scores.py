"""Held-out scores per task before and after training, for the head of the page and its first
table.

They are read from summary.json if the run has finished, otherwise computed from heldout/*.jsonl by
the same rule: the score of a prompt is the mean accuracy of its samples, that of a task the mean
over its prompts, and `macro` the mean over tasks.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from g2rpo.report.run_data import HeldoutPrompt, Run, paired
from g2rpo.report.smooth import mean

Scores = Mapping[str, float]
"""Score by task, and `macro`."""
AGREE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Scores before and after training; a side without scores is empty."""

    before: Scores
    after: Scores

    def change(self, key: str) -> float:
        """Return after minus before; NaN if one of them is missing."""
        return self.after.get(key, math.nan) - self.before.get(key, math.nan)


def sampled_score(prompt: HeldoutPrompt) -> float:
    """Return the mean accuracy of a prompt's samples."""
    return mean([sample.accuracy for sample in prompt.samples])


def scores_of(prompts: Sequence[HeldoutPrompt] | None, *, greedy: bool) -> dict[str, float]:
    """Return the score of each task and `macro`; empty if there are no prompts."""
    by_task: dict[str, list[float]] = {}
    for prompt in prompts or ():
        by_task.setdefault(prompt.task, []).append(
            prompt.greedy.accuracy if greedy else sampled_score(prompt)
        )
    scores = {task: mean(own) for task, own in by_task.items()}
    return {"macro": mean(list(scores.values())), **scores} if scores else {}


def comparison(run: Run, *, greedy: bool) -> Comparison:
    """Return scores from summary.json, or from the held-out files for a side it lacks."""
    key = "heldout_greedy" if greedy else "heldout"
    noted = (run.summary or {}).get(key) or {}
    sides = {}
    for when, prompts in (("before", run.before), ("after", run.after)):
        known = {
            name: float(score)
            for name, score in (noted.get(when) or {}).items()
            if math.isfinite(score)
        }
        sides[when] = known or scores_of(prompts, greedy=greedy)
    return Comparison(before=sides["before"], after=sides["after"])


def disagreements(run: Run) -> list[str]:
    """Return one sentence per score of summary.json that differs from the held-out files."""
    found = []
    for greedy in (False, True):
        shown = comparison(run, greedy=greedy)
        for when, prompts, scores in (
            ("before", run.before, shown.before),
            ("after", run.after, shown.after),
        ):
            counted = scores_of(prompts, greedy=greedy)
            wrong = [
                key for key in counted if key in scores and abs(counted[key] - scores[key]) > AGREE
            ]
            kind = "greedy" if greedy else "sampled"
            place = f"heldout/{when}.jsonl"
            found += [
                f"summary.json says {scores[k]:.4f} for {k} ({kind}, {when}), {place} gives"
                f" {counted[k]:.4f}."
                for k in wrong
            ]
    return found


def change_interval(run: Run, task: str) -> float:
    """Return half the width of a 95% interval for the change of a task's score.

    It is a normal approximation from the differences of the prompts, and NaN for fewer than two
    prompts in both files. It covers the choice of prompts, not another training run.
    """
    pairs = [
        (b, a)
        for b, a in paired(run.before, run.after)
        if b is not None and a is not None and b.task == task
    ]
    differences = [d for b, a in pairs if math.isfinite(d := sampled_score(a) - sampled_score(b))]
    if len(differences) < 2:
        return math.nan
    return 1.96 * statistics.stdev(differences) / math.sqrt(len(differences))
