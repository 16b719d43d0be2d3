"""Reads a run folder for the page. A run in progress lacks some files; these are noted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from g2rpo.metrics import task_of
from g2rpo.report.completions import Draws, TrainingPrompt, read_training
from g2rpo.report.error_kinds import verdict
from g2rpo.report.file_rows import Row, StepSpan, json_object, json_rows, metric_rows, timeline_rows
from g2rpo.report.plots import task_palette
from g2rpo.report.settings import Settings, read_settings
from g2rpo.tasks import MACRO, in_order
from g2rpo.training.completion_parts import LIVE, completion_files


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """A judged completion of a held-out prompt.

    `accuracy` is NaN if it could not be computed, `format` also if the reward has no such part.
    """

    text: str
    accuracy: float
    format: float
    tokens: float
    finished: bool = True
    failed: bool = False

    @property
    def verdict(self) -> str:
        """The verdict on the completion, one of `VERDICTS`."""
        return verdict(self.accuracy, self.format, finished=self.finished, failed=self.failed)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldoutPrompt:
    """A held-out prompt with completions of one policy, sampled at temperature 1 and greedy."""

    id: str
    task: str
    text: str
    answer: str
    answer_type: str
    samples: tuple[Completion, ...]
    greedy: Completion

    @property
    def accuracies(self) -> str:
        """Accuracies of the samples as text."""
        return " ".join(f"{sample.accuracy:.2f}".removesuffix(".00") for sample in self.samples)


Pair = tuple[HeldoutPrompt | None, HeldoutPrompt | None]
"""One prompt before and after training."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that the page shows.

    `before`, `after` and `summary` are None if their file is missing.
    """

    folder: Path
    settings: Settings
    metrics: dict[int, dict[str, float]]
    """`{step: {column: value}}`, as in metrics.csv."""
    draws: dict[str, Draws]
    training: list[TrainingPrompt]
    """The training prompts that the page shows."""
    before: list[HeldoutPrompt] | None
    after: list[HeldoutPrompt] | None
    summary: dict[str, Any] | None
    estimate: dict[str, Any] | None
    """Content of `estimate.json`: the expected memory and time; None without that file."""
    timeline: Sequence[StepSpan] = ()
    """The rows of timeline.csv; none without that file."""
    notes: tuple[str, ...]
    """Sentences about missing files and rows that were left out."""

    @property
    def name(self) -> str:
        """The last two folders of the path, as in `2026-03-01/14-05-12`."""
        return "/".join(self.folder.resolve().parts[-2:])

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that occur in any file of the run, in the order of the run."""
        columns = {column for row in self.metrics.values() for column in row}
        trained = {task for column in columns if (task := task_of(column)) is not None}
        shown = {prompt.task for prompts in (self.before, self.after) for prompt in prompts or ()}
        sides = ((self.summary or {}).get("heldout") or {}).values()
        scored = {name for scores in sides for name in scores} - {MACRO}
        return in_order(trained | shown | scored | set(self.draws), self.settings.named_tasks)

    @property
    def palette(self) -> dict[str, str]:
        """The color of each task."""
        return task_palette(self.tasks)

    @property
    def reward_parts(self) -> list[str]:
        """Parts of the reward in metrics.csv, without accuracy, format and failures."""
        names = [column.split("/", 2) for row in self.metrics.values() for column in row]
        parts = dict.fromkeys(
            words[1] for words in names if len(words) == 3 and words[0] == "reward"
        )
        return [part for part in parts if part not in ("accuracy", "format", "failed_frac")]

    @property
    def stage_s(self) -> dict[str, float]:
        """Seconds by stage of the run; empty before it has finished."""
        return {
            name: float(seconds)
            for name, seconds in ((self.summary or {}).get("stage_s") or {}).items()
        }

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Return steps and values of a column of metrics.csv; both empty if it does not exist."""
        found = [
            (float(step), row[name]) for step, row in sorted(self.metrics.items()) if name in row
        ]
        return [step for step, _ in found], [value for _, value in found]


def read_run(folder: Path, summary: dict[str, Any] | None = None) -> Run:
    """Read a run folder.

    Args:
        folder: The run folder.
        summary: Replaces `summary.json`, if it is not written yet.

    Raises:
        ValueError: If the folder is not a run folder, or a file is broken; names file, line, key.
    """
    if not any(
        (folder / name).exists() for name in ("metrics.csv", ".hydra", "heldout", "summary.json")
    ):
        raise ValueError(
            f"{folder} is no run folder: expected metrics.csv, .hydra/, heldout/ or summary.json in"
            " it, or sweep.json of a multirun"
        )
    notes: list[str] = []
    draws, training = _read_training(folder, notes)
    return Run(
        folder=folder,
        settings=read_settings(folder / ".hydra", notes),
        metrics=_read_metrics(folder, notes),
        draws=draws,
        training=training,
        before=_read_heldout(folder, "before", notes),
        after=_read_heldout(folder, "after", notes),
        summary=summary or _read_summary(folder, notes),
        estimate=_json_file(folder / "estimate.json"),
        timeline=timeline_rows(folder / "timeline.csv"),
        notes=tuple(notes),
    )


def _missing(path: Path, consequence: str, notes: list[str]) -> bool:
    missing = not path.exists()
    if missing:
        notes.append(
            f"{path.name if path.parent.name != 'heldout' else f'heldout/{path.name}'} is missing:"
            f" {consequence}."
        )
    return missing


def _read_metrics(folder: Path, notes: list[str]) -> dict[int, dict[str, float]]:
    if _missing(folder / "metrics.csv", "there are no curves", notes):
        return {}
    rows = metric_rows(folder / "metrics.csv", notes)
    if not rows:
        notes.append("metrics.csv has no rows yet: there are no curves.")
    return rows


def _read_training(folder: Path, notes: list[str]) -> tuple[dict[str, Draws], list[TrainingPrompt]]:
    """Read completions of training one line at a time: the file can be larger than memory."""
    files = completion_files(folder)
    if not files:
        consequence = "there are no training completions and no reward by task"
        _missing(folder / LIVE, consequence, notes)
    named = ((path, path.relative_to(folder).as_posix()) for path in files)
    return read_training(row for path, name in named for row in json_rows(path, name, notes))


def _read_heldout(folder: Path, when: str, notes: list[str]) -> list[HeldoutPrompt] | None:
    """Read `before` or `after`; before the end of a run its latest validation takes the place of
    `after`.
    """
    name = f"heldout/{when}.jsonl"
    steps = sorted(
        (folder / "heldout").glob("step_*.jsonl"),
        key=lambda path: int(path.stem.removeprefix("step_")),
    )
    if when == "after" and steps and not (folder / name).exists():
        name = f"heldout/{steps[-1].name}"
        notes.append(
            f"heldout/after.jsonl is missing: {name}, the latest validation, takes its place."
        )
    elif _missing(folder / name, f"held-out scores {when} training are not known", notes):
        return None
    return [_heldout_prompt(row) for row in json_rows(folder / name, name, notes)]


def _heldout_prompt(row: Row) -> HeldoutPrompt:
    return HeldoutPrompt(
        id=row.text("prompt_id"),
        task=row.task(),
        text=row.text("prompt"),
        answer=row.text("answer"),
        answer_type=row.text("answer_type"),
        samples=tuple(_completion(sample) for sample in row.list_of("samples")),
        greedy=_completion(row.inner("greedy")),
    )


def _completion(row: Row) -> Completion:
    return Completion(
        text=row.text("completion"),
        accuracy=row.number("accuracy"),
        format=row.number("format", optional=True),
        tokens=row.number("completion_tokens"),
        finished=row.fields.get("finished") is not False,
        failed=row.fields.get("failed") is True,
    )


def _read_summary(folder: Path, notes: list[str]) -> dict[str, Any] | None:
    if _missing(folder / "summary.json", "the run has not finished, or was stopped", notes):
        error = folder / "error.txt"
        lines = (
            error.read_text(encoding="utf-8", errors="replace").split("\n")
            if error.exists()
            else []
        )
        notes.extend(
            f"The run ended with an error: {line}"
            for line in [line for line in lines if line.strip()][-1:]
        )
        return None
    return _json_file(folder / "summary.json")


def _json_file(path: Path) -> dict[str, Any] | None:
    """Return the content of a file with a JSON object; None if there is no file."""
    try:
        return json_object(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def paired(
    before: Sequence[HeldoutPrompt] | None, after: Sequence[HeldoutPrompt] | None
) -> list[Pair]:
    """Return each prompt before and after training, in the order of `before`; None if missing."""
    later = {prompt.id: prompt for prompt in after or ()}
    pairs: list[Pair] = [(prompt, later.pop(prompt.id, None)) for prompt in before or ()]
    return pairs + [(None, prompt) for prompt in later.values()]
