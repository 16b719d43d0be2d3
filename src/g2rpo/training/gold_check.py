"""Checks before training that the run's reward accepts the gold answers of the data.

A gold answer that no completion can match, or that wrong answers match as well, silently gives a
useless or wrong signal. `g2rpo.data.gold_tries` has the three completions tried for each prompt.
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
from g2rpo.launch.meeting import from_first, is_first, meeting
from g2rpo.records import Failed, Prompt
from g2rpo.reward.workers.inline import score_each
from g2rpo.training.display import progress_bar

log = logging.getLogger("g2rpo")

MOST_RECORDS = 20_000
"""Largest number of checked records by default; of more, a random sample is checked."""
ENDLESS_PROMPTS = 8
"""Number of prompts checked per task of an endless source."""
BATCH_PROMPTS = 512
LISTED = 5
"""Number of records that an error or a warning lists."""
BAR_RECORDS = 2000
"""Number of records from which a progress bar is shown."""
FINDINGS = "G2RPO_GOLD_FINDINGS"
"""Environment variable with the findings of the first process, for the processes it starts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A record whose gold answer this reward does not score correctly."""

    task: str
    split: str
    index: int
    """Index of the prompt in its task and split."""
    reason: str
    """File and line, the answer, and what is wrong with it."""


@dataclass(kw_only=True, slots=True)
class GoldReport:
    """Number of checked records, and the findings."""

    records: int = 0
    """Number of records of all trained tasks; of endless ones, only checked prompts count."""
    checked: int = 0
    graded: int = 0
    """Number of records that were skipped because a model grades their answers."""
    findings: list[Finding] = field(default_factory=list)
    tags: tuple[str, str] | None = None
    """Tags that the prompts ask for, if no correct answer in these tags got the full format."""


def refuse_bad_golds(
    source: PromptSource,
    reward: Reward,
    *,
    tasks: Sequence[str],
    rules: Reward,
    folder: Path,
    seed: int = 0,
) -> None:
    """Check the gold answers of a run; raise or leave records out, as `data.on_error` says.

    Args:
        source: Source of the prompts. Its optional attribute `check_golds` limits the number of
            checked records (0 checks none); its optional method `leave_out(task, split, indices)`
            leaves records out.
        reward: The run's reward, in its workers.
        tasks: Tasks that are trained.
        rules: The same reward, outside of the workers. Prompts that it scores in batches are
            graded by a model and not checked.
        folder: The run folder.
        seed: Seeds the sample if there are more records than are checked.

    Raises:
        BadRecord: with file and line of the first records.
    """
    most = getattr(source, "check_golds", MOST_RECORDS)
    if not most:
        return
    told = _told()
    if told is not None:
        _apply(source, _read(told), quiet=True)
        return
    start_s = time.perf_counter()
    report = check_golds(source, reward, tasks=tasks, rules=rules, most=most, seed=seed)
    _say(report, time.perf_counter() - start_s, seed)
    _apply(source, report, quiet=False)
    os.environ[FINDINGS] = _written(report, folder)
    from_first(FINDINGS, os.environ[FINDINGS])


def check_golds(
    source: PromptSource,
    reward: Reward,
    *,
    tasks: Sequence[str],
    rules: Reward,
    most: int,
    seed: int = 0,
) -> GoldReport:
    """Check the gold answers of at most `most` records; bad ones are reported, not raised."""
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
    """Return the fault of each prompt by key; format scores of correct answers go to `formats`."""
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
    """Return task, split and index of each record to check, and the number of all records."""
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
    """Return a key; prompts with the same key have the same completions tried and scores."""
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
        f", {report.graded:,} of them skipped, because a model grades them" if report.graded else ""
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
            "gold answers: correct answers in <%s> and <%s>, as the prompts ask for, do not get the"
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
    " data.on_error=skip leaves them out; data.check_golds=0 trains on them anyway."
)


def _listed(report: GoldReport) -> str:
    first = [finding.reason for finding in report.findings[:LISTED]]
    more = len(report.findings) - len(first)
    lines = "\n".join(f"- {reason}" for reason in first) + (f"\n- and {more} more" if more else "")
    return (
        f"{len(report.findings)} of {report.checked} records have a gold answer that this reward"
        " does not score correctly: it must accept the gold answer, as it is and in the form that"
        f" the prompt asks for, and refuse a wrong one.\n{lines}"
    )


def _written(report: GoldReport, folder: Path) -> str:
    """Write the findings to a file and return its path; empty if there are none."""
    if not report.findings:
        return ""
    path = folder / "gold_findings.json"
    write_whole(path, json.dumps([asdict(finding) for finding in report.findings], indent=1) + "\n")
    return str(path.resolve())


def _told() -> str | None:
    """Return the file of rank 0's findings; None if this process has to check by itself."""
    if is_first():
        return None
    met = meeting()
    if FINDINGS in os.environ or met is None:  # rank 0 has started this process
        return os.environ.get(FINDINGS)
    return met.ask(FINDINGS)


def _read(path: str) -> GoldReport:
    rows = json.loads(Path(path).read_text(encoding="utf-8")) if path else []
    return GoldReport(findings=[Finding(**row) for row in rows])
