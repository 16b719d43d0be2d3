"""Before training: every gold answer goes through the run's own reward.

A gold answer that no answer can meet, or that wrong answers meet as well, teaches nothing or the
wrong thing, without a word. See `g2rpo.data.gold_tries` for the three tries of each prompt.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from g2rpo.data.gold_tries import ASKED, NEARLY, fault_of, tags_in, tries_of
from g2rpo.data.loading import place
from g2rpo.data.rows import BadRecord
from g2rpo.files import write_whole
from g2rpo.interfaces import BatchReward, PromptSource, Reward
from g2rpo.records import Failed, Prompt
from g2rpo.reward.workers.inline import score_each
from g2rpo.training.display import progress_bar

log = logging.getLogger("g2rpo")

MOST_RECORDS = 20_000
"""Records that are checked if the source does not say how many; of more, a random sample."""
ENDLESS_PROMPTS = 8
"""Prompts of each task that are checked of a source without end."""
BATCH_PROMPTS = 512
LISTED = 5
"""Records that an error or a warning names."""
BAR_RECORDS = 2000
"""From this many records on, a progress bar is shown."""
FINDINGS = "G2RPO_GOLD_FINDINGS"
"""Environment variable by which the first process tells those it starts what it has found."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A record whose gold answer must not be trained on with this reward."""

    task: str
    split: str
    index: int
    """Of the prompt in its task and split."""
    reason: str
    """File and line, the answer, and what is wrong with it."""


@dataclass(kw_only=True, slots=True)
class GoldReport:
    """What was checked, and what was found."""

    records: int = 0
    """All records of the tasks that are trained; endless tasks count with what was checked."""
    checked: int = 0
    graded: int = 0
    """Records that were not tried because a model grades their answers."""
    findings: list[Finding] = field(default_factory=list)
    tags: tuple[str, str] | None = None
    """Tags that the prompts ask for, if no right answer in them got the full format."""


def refuse_bad_golds(
    source: PromptSource,
    reward: Reward,
    *,
    tasks: Sequence[str],
    rules: Reward,
    folder: Path,
    seed: int = 0,
) -> None:
    """Check the gold answers of a run, and raise or leave out as `data.on_error` says.

    Args:
        source: Its optional `check_golds` is the largest number of records that are checked (0:
            none). Records are left out by its optional `leave_out(task, split, indices)`.
        reward: The run's reward, where it runs.
        tasks: Tasks that are trained.
        rules: The same reward as it was built; prompts that it judges in batches are graded by a
            model and not tried.
        folder: The run folder.
        seed: Of the sample, if there are more records than are checked.

    Raises:
        BadRecord: Names the first records with file and line.
    """
    most = getattr(source, "check_golds", MOST_RECORDS)
    if not most:
        return
    told = os.environ.get(FINDINGS) if "LOCAL_RANK" in os.environ else None
    if told is not None:  # the first process has checked, and started this one
        _apply(source, _read(told), quiet=True)
        return
    start_s = time.perf_counter()
    report = check_golds(source, reward, tasks=tasks, rules=rules, most=most, seed=seed)
    _say(report, time.perf_counter() - start_s, seed)
    _apply(source, report, quiet=False)
    os.environ[FINDINGS] = _written(report, folder)


def check_golds(
    source: PromptSource,
    reward: Reward,
    *,
    tasks: Sequence[str],
    rules: Reward,
    most: int,
    seed: int = 0,
) -> GoldReport:
    """Try the gold answers of at most `most` records. Raises nothing for a bad one."""
    places, total = _places(source, tasks, most, seed)
    report = GoldReport(records=total, checked=len(places))
    read: Callable[[str, int, str], Prompt] = getattr(source, "without_images", source.get)
    by_model = rules.in_batch if isinstance(rules, BatchReward) else lambda prompt: False
    known: dict[str, str] = {}
    formats: list[float] = []
    with _bar(len(places)) as advance:
        for start in range(0, len(places), BATCH_PROMPTS):
            chunk = places[start : start + BATCH_PROMPTS]
            prompts = [read(task, index, split) for task, split, index in chunk]
            new = {
                key: prompt
                for prompt in prompts
                if (key := _key(prompt)) not in known and not by_model(prompt)
            }
            known |= _faults(new, reward, formats)
            for where, prompt in zip(chunk, prompts, strict=True):
                fault = known.get(_key(prompt))
                report.graded += fault is None
                if fault:
                    report.findings.append(
                        Finding(*where, f"{place(prompt)}: {_answer(prompt)}: {fault}")
                    )
                elif fault is not None and report.tags is None:
                    report.tags = tags_in(prompt.text)
            advance(len(chunk))
    if any(form >= 1 - NEARLY for form in formats):
        report.tags = None
    return report


def _faults(prompts: dict[str, Prompt], reward: Reward, formats: list[float]) -> dict[str, str]:
    """What is wrong with each prompt, by its key; `formats` gets those of the right answers."""
    tries = {key: tries_of(prompt) for key, prompt in prompts.items()}
    flat = [(key, tried) for key, own in tries.items() for tried in own]
    outcomes = score_each(
        reward, [tried.completion for _, tried in flat], [prompts[key] for key, _ in flat]
    )
    verdicts: dict[str, list[Any]] = {key: [] for key in prompts}
    for (key, tried), outcome in zip(flat, outcomes, strict=True):
        verdicts[key].append((tried, outcome))
        if tried.name == ASKED and not isinstance(outcome, Failed):
            formats.append(outcome["format"])
    return {key: fault_of(prompt, verdicts[key]) for key, prompt in prompts.items()}


def _places(
    source: PromptSource, tasks: Sequence[str], most: int, seed: int
) -> tuple[list[tuple[str, str, int]], int]:
    """Task, split and index of each record that is checked, and how many records there are."""
    sizes = [
        (task, split, source.size(task, split)) for task in tasks for split in ("train", "heldout")
    ]
    endless = [
        (task, split, index)
        for task, split, size in sizes
        if size is None and split == "train"
        for index in range(ENDLESS_PROMPTS)
    ]
    counted = [(task, split, size) for task, split, size in sizes if size]
    total = sum(size for _, _, size in counted)
    rng = Random(f"gold/{seed}")  # noqa: S311
    chosen = range(total) if total <= most else sorted(rng.sample(range(total), most))
    found: list[tuple[str, str, int]] = []
    rows, first = iter(counted), 0
    task, split, size = next(rows, ("", "", 0))
    for number in chosen:
        while number >= first + size:
            first += size
            task, split, size = next(rows)
        found.append((task, split, number - first))
    return endless + found, total + len(endless)


def _key(prompt: Prompt) -> str:
    """Prompts with the same key have the same tries and verdicts."""
    meta = {name: value for name, value in prompt.meta.items() if name not in ("file", "line")}
    hint = prompt.text.strip().rpartition("\n")[2] if "\n" in prompt.text else ""
    return json.dumps(
        [prompt.answer_type, prompt.answer, meta, tags_in(prompt.text), hint], default=repr
    )


def _answer(prompt: Prompt) -> str:
    shown = prompt.answer if len(prompt.answer) <= LISTED * 20 else f"{prompt.answer[:100]}..."
    return f"answer {shown!r} ({prompt.answer_type})"


@contextmanager
def _bar(records: int) -> Iterator[Callable[[int], None]]:
    if records < BAR_RECORDS:
        yield lambda count: None
        return
    with progress_bar("gold answers", total=records) as advance:
        yield advance


def _say(report: GoldReport, seconds: float, seed: int) -> None:
    sample = (
        f" of {report.records:,}, drawn at random with seed {seed}"
        if report.checked < report.records
        else ""
    )
    graded = (
        f", {report.graded:,} of them not tried, because a model grades them"
        if report.graded
        else ""
    )
    log.info(
        "gold answers: %s records%s checked with the run's reward%s, %d refused, %.1f s",
        f"{report.checked:,}",
        sample,
        graded,
        len(report.findings),
        seconds,
    )
    if report.tags:
        log.warning(
            "gold answers: right answers in <%s> and <%s>, as the prompts ask for, do not get the"
            " full format; does the reward expect other tags?",
            *report.tags,
        )


def _apply(source: Any, report: GoldReport, *, quiet: bool) -> None:
    """Raise for bad records, leave them out, or warn if the source can do neither."""
    if not report.findings:
        return
    skips = getattr(source, "skips", None)
    if skips is not None and skips.on_error == "raise":
        raise BadRecord(_listed(report) + _REMEDY)
    if not hasattr(source, "leave_out"):
        if not quiet:
            log.warning("%s\nThis data source cannot leave them out.", _listed(report))
        return
    bad: dict[tuple[str, str], set[int]] = {}
    for finding in report.findings:
        bad.setdefault((finding.task, finding.split), set()).add(finding.index)
        if skips is not None:
            skips.unusable(finding.task, finding.reason)
    for (task, split), indices in bad.items():
        source.leave_out(task, split, indices)


_REMEDY = (
    "\nCorrect or drop these records, or choose a reward that reads them (reward=...)."
    " data.on_error=skip leaves them out; data.check_golds=0 trains on them all the same."
)


def _listed(report: GoldReport) -> str:
    first = [finding.reason for finding in report.findings[:LISTED]]
    more = len(report.findings) - len(first)
    lines = "\n".join(f"- {reason}" for reason in first) + (f"\n- and {more} more" if more else "")
    return (
        f"{len(report.findings)} of {report.checked} records have a gold answer that this reward"
        " does not judge rightly: it must accept the gold answer, as it is and in the form that"
        f" the prompt asks for, and refuse a wrong one.\n{lines}"
    )


def _written(report: GoldReport, folder: Path) -> str:
    """The path of a file with the findings; empty if there are none."""
    if not report.findings:
        return ""
    path = folder / "gold_findings.json"
    write_whole(path, json.dumps([asdict(finding) for finding in report.findings], indent=1) + "\n")
    return str(path.resolve())


def _read(path: str) -> GoldReport:
    rows = json.loads(Path(path).read_text(encoding="utf-8")) if path else []
    return GoldReport(findings=[Finding(**row) for row in rows])
