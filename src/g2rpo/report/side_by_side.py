"""Runs side by side: what differs in their configuration, their scores and their curves."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from g2rpo.files import write_whole
from g2rpo.report.heldout_scores import comparison
from g2rpo.report.plots import COLORS, Figure, Line, line_plot, task_palette
from g2rpo.report.render import Cell, change_cell, duration_text, render, score_text, task_cell
from g2rpo.report.run_data import Run, read_run
from g2rpo.report.smooth import mean

PLAIN = {
    "reward/total": "Total reward",
    "optim/grad_norm": "Gradient norm before clipping",
    "loss/clip_frac": "Share of tokens whose ratio is clipped",
    "time/step_s": "Seconds of a step",
}
BY_TASK = {
    "reward/accuracy": "Accuracy, {}",
    "val/accuracy": "Held-out accuracy, {}",
    "rollout/completion_tokens": "Completion length, {}",
    "policy/entropy_nats": "Entropy, {}",
}
WHERE = ("run_dir", "hydra.")
"""Keys that differ between any two runs and explain nothing."""


def write_comparison(folders: Sequence[Path], target: Path) -> Path:
    """Write a page over runs and return its path; a broken file raises `ValueError`."""
    write_whole(target, comparison_page([_read(folder) for folder in folders]))
    return target


def _read(folder: Path) -> Run:
    try:
        return read_run(folder)
    except ValueError as error:
        raise ValueError(
            str(error) if str(folder) in str(error) else f"{folder}: {error}"
        ) from None


def comparison_page(runs: Sequence[Run]) -> str:
    """Return the page over runs; the first is what the others are compared with."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs]
    return render(
        "compare.html.j2",
        title=f"{len(runs)} runs - g2rpo",
        palette=task_palette(_tasks(runs)),
        names=names,
        runs=runs,
        settings=_differences(runs),
        scores=_scores(runs),
        benchmarks=_benchmarks(runs),
        mean_figures=_figures(runs, names, "reward/accuracy", "Accuracy, mean of the tasks", None)
        + _plain_figures(runs, names),
        task_figures=[
            f
            for key, title in BY_TASK.items()
            for task in _tasks(runs)
            for f in _figures(runs, names, key, title, task)
        ],
        changes=[f"change, {name}" for name in names[1:]],
        facts=[
            ["state", *("not finished" if run.summary is None else "finished" for run in runs)],
            ["steps", *(str(max(run.metrics, default=0)) for run in runs)],
            [
                "training time",
                *(
                    duration_text(run.stage_s.get("train", math.fsum(run.column("time/step_s")[1])))
                    for run in runs
                ),
            ],
        ],
    )


def _tasks(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(task for run in runs for task in run.tasks))


def _differences(runs: Sequence[Run]) -> list[list[str]]:
    """Return the keys whose values differ, with the value of each run; a dash if it has none."""
    keys = dict.fromkeys(
        key for run in runs for key in run.settings.values if not key.startswith(WHERE)
    )
    rows = [[key, *(str(run.settings.values.get(key, "-")) for run in runs)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _scores(runs: Sequence[Run]) -> list[list[Cell]]:
    sides = [comparison(run, greedy=False) for run in runs]
    known = {key for side in sides for key in (*side.before, *side.after)}
    rows: list[list[Cell]] = []
    for key in (*_tasks(runs), "macro"):
        if key in known:
            before, after = (
                [getattr(side, when).get(key, math.nan) for side in sides]
                for when in ("before", "after")
            )
            cells: list[Cell] = [
                f"{score_text(b)} → {score_text(a)}" for b, a in zip(before, after, strict=True)
            ]
            rows.append(
                [
                    "mean of the tasks" if key == "macro" else task_cell(key),
                    *cells,
                    *(change_cell(a - after[0]) for a in after[1:]),
                ]
            )
    return rows


def _benchmarks(runs: Sequence[Run]) -> list[list[Cell]]:
    found = [(run.summary or {}).get("benchmarks") or {} for run in runs]
    names = dict.fromkeys(name for benchmarks in found for name in benchmarks)
    rows = []
    for name in names:
        scores = [float(own.get(name, {}).get("score", math.nan)) for own in found]
        rows.append(
            [
                name,
                *map(score_text, scores),
                *(change_cell(score - scores[0]) for score in scores[1:]),
            ]
        )
    return rows


def _plain_figures(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    return [
        f
        for key, title in PLAIN.items()
        for f in _drawn(runs, names, title, lambda run, key=key: run.column(key))
    ]


def _figures(
    runs: Sequence[Run], names: Sequence[str], metric: str, title: str, task: str | None
) -> list[Figure]:
    """Return one curve per run: of a task, or (None) the mean over the tasks of each step."""
    if task is not None:
        return _drawn(runs, names, title.format(task), lambda run: run.column(f"{metric}/{task}"))
    return _drawn(runs, names, title, lambda run: _mean_over_tasks(run, metric))


def _mean_over_tasks(run: Run, metric: str) -> tuple[list[float], list[float]]:
    steps = sorted(run.metrics)
    rows = [
        [run.metrics[step].get(f"{metric}/{task}", math.nan) for task in run.tasks]
        for step in steps
    ]
    return [float(step) for step in steps], [mean(row) for row in rows]


def _drawn(
    runs: Sequence[Run],
    names: Sequence[str],
    title: str,
    read: Callable[[Run], tuple[list[float], list[float]]],
) -> list[Figure]:
    lines = [
        Line(name=name, color=COLORS[i % len(COLORS)], steps=s, values=v)
        for i, (name, (s, v)) in enumerate(zip(names, map(read, runs), strict=True))
        if v
    ]
    return (
        [line_plot(title, "", lines)]
        if any(math.isfinite(value) for line in lines for value in line.values)
        else []
    )
