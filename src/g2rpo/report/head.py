"""The head of the page: what was run, what came out, what is missing; the table of scores; the small print at the end."""

import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from g2rpo.evaluation.paper import DEMO, NOT_COMPARABLE
from g2rpo.records import TASKS
from g2rpo.report.folder import Completion, HeldoutPrompt, Run
from g2rpo.report.markup import change_text, duration_text, score_text, section, table, task_name
from g2rpo.report.plots import before_after
from g2rpo.report.scores import Comparison, change_interval, comparison, disagreements
from g2rpo.report.smooth import mean


def header(run: Run) -> str:
    """Name, choices, headline numbers and notes."""
    choices = "".join(f"<li>{escape(group)} <b>{escape(name)}</b></li>" for group, name in run.settings.choices.items())
    command = escape(" ".join(("python train.py", *run.settings.overrides)))
    tiles = "".join(
        (
            _score_tile("Held-out score, sampled", comparison(run, greedy=False), "mean over tasks, at temperature 1"),
            _score_tile("Held-out score, greedy", comparison(run, greedy=True), "mean over tasks"),
            _tile("Steps", *_steps(run)),
            _tile("Training time", *_time(run)),
        )
    )
    state = "finished" if run.summary is not None else "not finished"
    return (
        f'<header><h1>{escape(run.name)} <span class="state">{state}</span></h1><ul class="choices">{choices}</ul>'
        f'<p class="command"><code>{command}</code></p><div class="tiles">{tiles}</div>{_notes(run)}</header>'
    )


def _tile(name: str, value: str, remark: str) -> str:
    value_and_remark = f'<div class="value">{value}</div><div class="remark">{escape(remark)}</div>'
    return f'<div class="tile"><div class="name">{escape(name)}</div>{value_and_remark}</div>'


def _score_tile(name: str, scores: Comparison, remark: str) -> str:
    before, after = scores.before.get("macro", math.nan), scores.after.get("macro", math.nan)
    change = f" {_change(after - before)}" if math.isfinite(after - before) else ""
    return _tile(name, f"{score_text(before)} &rarr; {score_text(after)}{change}", remark)


def _change(change: float) -> str:
    return f'<span class="{_direction(change)}">{change_text(change)}</span>'


def _direction(change: float) -> str:
    return "up" if change > 0 else "down" if change < 0 else ""


def _steps(run: Run) -> tuple[str, str]:
    done = int(run.summary["steps"]) if run.summary and "steps" in run.summary else len(run.metrics)
    planned = run.settings.max_steps
    return str(done), f"of {planned}" if planned is not None and planned > 0 else "rows of metrics.csv"


def _time(run: Run) -> tuple[str, str]:
    stages = stage_seconds(run)
    if "train" in stages:
        return duration_text(stages["train"]), f"{duration_text(sum(stages.values()))} for the whole run"
    return duration_text(math.fsum(run.column("time/step_s")[1])), "sum of time/step_s"


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds by stage of the run; empty before it has finished."""
    return {name: float(seconds) for name, seconds in ((run.summary or {}).get("stage_s") or {}).items()}


def _notes(run: Run) -> str:
    notes = [*run.notes, *disagreements(run)]
    return f'<div class="notes"><ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul></div>' if notes else ""


def score_section(run: Run) -> str:
    """The table of held-out scores, one row a task."""
    sampled, greedy = comparison(run, greedy=False), comparison(run, greedy=True)
    known = {**sampled.before, **sampled.after}
    rows = [_score_row(run, key, sampled, greedy) for key in (*TASKS, "macro") if key in known]
    columns = ["task", "prompts", "before", "after", "change", "&plusmn; 95%", "&#9675; before &#9679; after, 0 to 1"]
    columns += ["greedy", "change", "format", "tokens"]
    return section(
        anchor="scores",
        title="Held-out scores",
        caption="Accuracy in [0, 1] on prompts that were not trained on, the same before and after: the mean of the samples "
        "at temperature 1, and the greedy completion. The interval of the change is over prompts, for this one run. Format and tokens: "
        "share of the samples in the asked format, and their mean length.",
        body=table(columns, rows, last_is_total=True) if rows else '<p class="empty">No held-out scores yet.</p>',
    )


def _score_row(run: Run, key: str, sampled: Comparison, greedy: Comparison) -> list[str]:
    before, after = sampled.before.get(key, math.nan), sampled.after.get(key, math.nan)
    total = key == "macro"
    own = [[p for p in prompts or () if total or p.task == key] for prompts in (run.before, run.after)]
    interval = math.nan if total else change_interval(run, key)
    return [
        "mean of the tasks" if total else task_name(key),
        str(max(map(len, own))),
        score_text(before),
        score_text(after),
        _change(after - before),
        score_text(interval),
        before_after(before, after),
        f"{score_text(greedy.before.get(key, math.nan))} &rarr; {score_text(greedy.after.get(key, math.nan))}",
        _change(greedy.change(key)),
        " &rarr; ".join(_share(prompts) for prompts in own),
        " &rarr; ".join(_length(prompts) for prompts in own),
    ]


def _share(prompts: list[HeldoutPrompt]) -> str:
    share = _mean_of_tasks(prompts, lambda sample: sample.format)
    return f"{share:.0%}" if math.isfinite(share) else "-"


def _length(prompts: list[HeldoutPrompt]) -> str:
    tokens = _mean_of_tasks(prompts, lambda sample: sample.tokens)
    return f"{tokens:.1f}" if math.isfinite(tokens) else "-"


def _mean_of_tasks(prompts: list[HeldoutPrompt], read: Callable[[Completion], float]) -> float:
    """Mean over the tasks of the mean over their samples, as the scores are formed."""
    tasks = {prompt.task for prompt in prompts}
    return mean([mean([read(sample) for prompt in prompts if prompt.task == task for sample in prompt.samples]) for task in tasks])


def benchmark_section(run: Run) -> str:
    """The table of benchmark scores beside the paper's; nothing where none was run."""
    benchmarks: Mapping[str, Any] = (run.summary or {}).get("benchmarks") or {}
    if not benchmarks:
        return ""
    columns = ("score", "low", "high", "parse_rate", "rows", "rows_from", "limit", "protocol", "judge")
    rows = [[_title(name, row), *(_cell(row.get(column)) for column in columns), *_in_paper(row)] for name, row in benchmarks.items()]
    rows += _mean_row(run.summary or {}, len(columns))
    demo = any(row.get("rows_from") == DEMO for row in benchmarks.values())
    return section(
        anchor="benchmarks",
        title="Benchmarks",
        caption="Headline score with its 95% interval over rows, the share of completions in which an answer was found, and the scores of "
        "the paper (arXiv 2604.08539)." + (f" {NOT_COMPARABLE}" if demo else ""),
        body=table(["benchmark", *columns, "base", "OpenVLThinkerV2"], rows, last_is_total=len(rows) > len(benchmarks)),
    )


def _title(name: str, row: Mapping[str, Any]) -> str:
    return escape((row.get("published") or {}).get("title", name))


def _in_paper(row: Mapping[str, Any]) -> list[str]:
    scores = (row.get("published") or {}).get("scores") or {}
    return [score_text(scores[column]) if column in scores else "-" for column in ("base", "openvlthinker_v2")]


def _mean_row(summary: Mapping[str, Any], columns: int) -> list[list[str]]:
    macro = (summary.get("benchmark_means") or {}).get("macro")
    return [] if macro is None else [["mean", score_text(float(macro)), *[""] * (columns + 1)]]


def _cell(value: object) -> str:
    return score_text(value) if isinstance(value, float) else escape("-" if value is None else str(value))


def footer(run: Run) -> str:
    """Small print: hash of the configuration, versions, prompts drawn, filter."""
    summary = run.summary or {}
    facts = [("run", run.name)] + [
        (key, _flat(summary[key])) for key in ("config_hash", "versions", "prompts_drawn", "filter") if summary.get(key)
    ]
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in facts)
    return f"<footer><dl>{lines}</dl></footer>"


def _flat(value: object) -> str:
    return ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items()) if isinstance(value, Mapping) else str(value)
