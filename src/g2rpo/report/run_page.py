"""Writes the report of a run into its folder."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from g2rpo.benchmark.published import DEMO, NOT_COMPARABLE
from g2rpo.files import write_whole
from g2rpo.report.completions import TrainingPrompt
from g2rpo.report.curves import curve_parts
from g2rpo.report.error_kinds import VERDICTS
from g2rpo.report.estimate_table import estimate_caption, estimate_rows
from g2rpo.report.gallery import Shown, gallery
from g2rpo.report.heldout_scores import Comparison, change_interval, comparison, disagreements
from g2rpo.report.idle_time import idle_part
from g2rpo.report.inline_picture import box_marks, boxes_of, pictures
from g2rpo.report.page_size import fitting, text_limit
from g2rpo.report.plots import before_after
from g2rpo.report.render import (
    Cell,
    change_cell,
    duration_text,
    render,
    score_text,
    share_text,
    task_cell,
)
from g2rpo.report.run_data import Completion, HeldoutPrompt, Run, read_run
from g2rpo.report.smooth import mean

BENCHMARK_COLUMNS = (
    "score",
    "low",
    "high",
    "parse_rate",
    "rows",
    "rows_from",
    "limit",
    "protocol",
    "judge",
)


def write_report(folder: Path, summary: dict[str, Any] | None = None) -> Path:
    """Write `report.html` into a run folder, whole or not at all, and return its path.

    Works on a run that has not finished: the page says what is missing.

    Args:
        folder: The run folder.
        summary: What the run is about to write into `summary.json`; None reads the file.

    Raises:
        ValueError: If the folder is no run folder, or a row is broken, with its file and line.
    """
    return write_page(read_run(folder, summary))


def write_page(run: Run) -> Path:
    """Write the report of a run that was read, and return its path."""
    target = run.folder / "report.html"
    write_whole(target, page(run))
    return target


def page(run: Run) -> str:
    """Return the report of one run."""
    sampled, greedy = comparison(run, greedy=False), comparison(run, greedy=True)
    known = [key for key in (*run.tasks, "macro") if key in {**sampled.before, **sampled.after}]
    sides = [
        (_name(key), sampled.before.get(key, math.nan), sampled.after.get(key, math.nan))
        for key in known
    ]
    shown = gallery(run)
    training = [_training_card(run.folder / "images", prompt) for prompt in run.training]
    kept = fitting([*(card.pictures for card in shown), *(card["pictures"] for card in training)])
    return render(
        "run.html.j2",
        title=f"{run.name} - g2rpo run",
        palette=run.palette,
        run=run,
        tiles=_tiles(run, sampled, greedy),
        warnings=[*run.notes, *disagreements(run)],
        score_rows=[_score_row(run, key, sampled, greedy) for key in known],
        score_plot=before_after("Held-out score before and after training", sides),
        verdicts=VERDICTS,
        error_rows=[_error_row(run, task) for task in known if task != "macro"],
        **benchmark_table(run),
        parts=curve_parts(run),
        timeline=idle_part(run),
        estimate_rows=estimate_rows(run),
        estimate_caption=estimate_caption(run),
        gallery=[replace(card, pictures=own) for card, own in zip(shown, kept, strict=False)],
        training=[
            card | {"pictures": own} for card, own in zip(training, kept[len(shown) :], strict=True)
        ],
        limit=text_limit([*gallery_texts(shown), *training_texts(run.training)]),
        facts=_facts(run),
    )


def gallery_texts(shown: Sequence[Shown]) -> Iterator[str]:
    """Yield every text on the cards of held-out prompts."""
    for card in shown:
        yield from (card.prompt.text, card.prompt.answer)
        for _, side in card.sides:
            if side is not None:
                yield from (own.text for own in (side.greedy, *side.samples))


def training_texts(shown: Sequence[TrainingPrompt]) -> Iterator[str]:
    """Yield every text on the cards of training prompts."""
    for prompt in shown:
        yield from (prompt.text, prompt.answer, *(own.text for own in prompt.completions))


def _name(key: str) -> str:
    return "mean of the tasks" if key == "macro" else key


def _tiles(
    run: Run, sampled: Comparison, greedy: Comparison
) -> list[tuple[str, str, str, Cell | None]]:
    scores = []
    for name, own, remark in (
        ("sampled", sampled, "mean over tasks, at temperature 1"),
        ("greedy", greedy, "mean over tasks"),
    ):
        words = _arrow(
            score_text, own.before.get("macro", math.nan), own.after.get("macro", math.nan)
        )
        change = change_cell(own.change("macro"))
        scores.append((f"Held-out score, {name}", words, remark, None if change == "-" else change))
    done = (
        int(run.summary["steps"])
        if run.summary and "steps" in run.summary
        else max(run.metrics, default=0)
    )
    planned = run.settings.max_steps
    if "train" in run.stage_s:
        took, remark = (
            run.stage_s["train"],
            f"{duration_text(sum(run.stage_s.values()))} for the whole run",
        )
    else:
        took, remark = math.fsum(run.column("time/step_s")[1]), "sum of time/step_s"
    steps = f"of {planned}" if planned is not None and planned > 0 else "last step of metrics.csv"
    return [
        *scores,
        ("Steps", str(done), steps, None),
        ("Training time", duration_text(took), remark, None),
    ]


def _arrow(text: Callable[[float], str], before: float, after: float) -> str:
    return f"{text(before)} → {text(after)}"


def _score_row(run: Run, key: str, sampled: Comparison, greedy: Comparison) -> list[Cell]:
    before, after = sampled.before.get(key, math.nan), sampled.after.get(key, math.nan)
    own = [
        [p for p in prompts or () if key in ("macro", p.task)]
        for prompts in (run.before, run.after)
    ]
    forms, lengths = (
        [_mean_of_tasks(prompts, read) for prompts in own]
        for read in (lambda s: s.format, lambda s: s.tokens)
    )
    return [
        _name(key) if key == "macro" else task_cell(key),
        str(max(map(len, own))),
        score_text(before),
        score_text(after),
        change_cell(after - before),
        score_text(math.nan if key == "macro" else change_interval(run, key)),
        _arrow(score_text, greedy.before.get(key, math.nan), greedy.after.get(key, math.nan)),
        change_cell(greedy.change(key)),
        _arrow(share_text, *forms),
        _arrow(lambda tokens: f"{tokens:.1f}" if math.isfinite(tokens) else "-", *lengths),
    ]


def _mean_of_tasks(prompts: Sequence[HeldoutPrompt], read: Callable[[Completion], float]) -> float:
    """Return the mean over the tasks of the mean over their samples, as the scores are formed."""
    tasks = {prompt.task for prompt in prompts}
    return mean(
        [
            mean(
                [
                    read(sample)
                    for prompt in prompts
                    if prompt.task == task
                    for sample in prompt.samples
                ]
            )
            for task in tasks
        ]
    )


def _error_row(run: Run, task: str) -> list[Cell]:
    """Return the share of each verdict among the samples of a task, before and after."""
    words = [
        [s.verdict for p in prompts or () if p.task == task for s in p.samples]
        for prompts in (run.before, run.after)
    ]
    shares = [
        [own.count(word) / len(own) if own else math.nan for own in words] for word in VERDICTS
    ]
    return [task_cell(task), *(_arrow(share_text, *pair) for pair in shares)]


def benchmark_table(run: Run) -> dict[str, Any]:
    """Return the benchmark scores beside the paper's; no rows if none was run."""
    summary = run.summary or {}
    benchmarks: Mapping[str, Any] = summary.get("benchmarks") or {}
    rows = []
    for name, row in benchmarks.items():
        paper = row.get("published") or {}
        scores = paper.get("scores") or {}
        theirs = [
            score_text(scores[column]) if column in scores else "-"
            for column in ("base", "openvlthinker_v2")
        ]
        rows.append(
            [
                paper.get("title", name),
                *(_plain(row.get(column)) for column in BENCHMARK_COLUMNS),
                *theirs,
            ]
        )
    macro = (summary.get("benchmark_means") or {}).get("macro")
    if macro is not None:
        rows.append(["mean", score_text(float(macro)), *[""] * (len(BENCHMARK_COLUMNS) + 1)])
    demo = any(row.get("rows_from") == DEMO for row in benchmarks.values())
    caption = (
        "Headline score with its 95% interval over rows, the share of completions in which an "
        "answer was found, and the scores of the paper (arXiv 2604.08539)."
        + (f" {NOT_COMPARABLE}" if demo else "")
    )
    return {
        "benchmark_columns": ["benchmark", *BENCHMARK_COLUMNS, "base", "OpenVLThinkerV2"],
        "benchmark_rows": rows,
        "benchmark_total": macro is not None,
        "benchmark_caption": caption,
    }


def _plain(value: object) -> str:
    return score_text(value) if isinstance(value, float) else "-" if value is None else str(value)


def _training_card(folder: Path, prompt: TrainingPrompt) -> dict[str, Any]:
    found = pictures(folder, prompt.id)
    boxes = box_marks(boxes_of({"gold": prompt.answer})) if len(found) == 1 else []
    names = ("task", "step", "id", "text", "answer", "completions", "left_out")
    return {"pictures": found, "boxes": boxes, **{name: getattr(prompt, name) for name in names}}


def _facts(run: Run) -> list[tuple[str, str]]:
    summary = run.summary or {}
    keys = ("config_hash", "versions", "prompts_drawn", "filter")
    return [("run", run.name), *((key, _flat(summary[key])) for key in keys if summary.get(key))]


def _flat(value: object) -> str:
    return (
        ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items())
        if isinstance(value, Mapping)
        else str(value)
    )
