"""Who worked and who waited: the timeline of trainer and rollout engine.

`Timeline` records spans from any thread while a run goes on. `TimelineFile` writes them to
`timeline.csv` in the run folder:

    step,who,what,start_s,end_s
    8,engine,decode,31.402,35.118        seconds since the run began; a resumed run continues

A step's rows are the spans between the end of the step before and its own end, so a span that
crosses the end of a step has a row in both. Shares of idle time are in `metrics.csv`, for every
step; the file keeps the spans of recent steps, and of fewer and fewer earlier ones.
"""

import csv
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch

from g2rpo import ranks
from g2rpo.files import replaced_file, writing
from g2rpo.stopwatch import Block

FILE = "timeline.csv"
COLUMNS = ("step", "who", "what", "start_s", "end_s")
TRAINER, ENGINE = "trainer", "engine"
WAIT = "wait"
"""What somebody does who is idle; other names are work."""
MOST_BYTES, RECENT_STEPS = 2_000_000, 400
"""At this size, every second step but the recent ones is dropped from the file."""
MOST_ROWS = 12
"""Number of rows per step for one kind of work; spans with the shortest gaps are joined."""
JOINED_S, SHORTEST_S = 0.002, 0.001
"""Seconds of a gap between two spans of one kind, and of a span, that the file does not show."""
WORK = {
    "data": "data",
    "decode": "decode",
    "reward": "reward",
    "advantage": "update",
    "gradient_conflict": "update",
    "forward": "update",
    "optimizer": "update",
    "sync": "sync",
}
"""What the trainer does in a stage of the stopwatch that is inside no other stage."""


class Span(NamedTuple):
    """Somebody doing something between two readings of `time.perf_counter`, in seconds."""

    who: str
    """`trainer`, `engine`, or `reward` where completions are judged while the trainer learns."""
    what: str
    start_s: float
    end_s: float


class Timeline:
    """Records spans from any thread; `cut` returns them step by step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: list[Span] = []
        self._open: dict[object, Span] = {}

    def span(self, who: str, what: str, start_s: float, end_s: float) -> None:
        """Record a span that has ended."""
        with self._lock:
            self._done.append(Span(who, what, start_s, end_s))

    @contextmanager
    def during(self, who: str, what: str) -> Iterator[None]:
        """Record the time inside this block; overlapping blocks of one kind count once."""
        key = object()
        with self._lock:
            self._open[key] = Span(who, what, time.perf_counter(), 0.0)
        try:
            yield
        finally:
            with self._lock:
                self._done.append(self._open.pop(key)._replace(end_s=time.perf_counter()))

    def cut(self) -> list[Span]:
        """Return the spans since the last call, joined where they overlap.

        A span that is still open ends here, and goes on in the next call.
        """
        with self._lock:
            now = time.perf_counter()
            found = self._done + [each._replace(end_s=now) for each in self._open.values()]
            self._done = []
            self._open = {key: each._replace(start_s=now) for key, each in self._open.items()}
        return joined(found)

    def step(self, blocks: Iterable[Block], *, own_weights: bool) -> list[Span]:
        """Add the stages of the trainer in a step, and return all spans since the last call.

        Args:
            blocks: Stages of the trainer, from `stopwatch.taken_blocks`.
            own_weights: See `stage_spans`.
        """
        for span in stage_spans(blocks, own_weights=own_weights):
            self.span(*span)
        return self.cut()


def idle_shares(spans: Sequence[Span], start_s: float, end_s: float) -> dict[str, float]:
    """Return the shares of a period in which trainer and engine were idle, as means over ranks.

    The trainer is idle while it waits. The engine is idle while it does nothing.

    Returns:
        Metrics by name; empty if there is no engine beside the trainer.
    """
    if all(span.who != ENGINE for span in spans):
        return {}
    seconds = {True: 0.0, False: 0.0}
    inside = [
        Span(who, "", max(start, start_s), min(end, end_s))
        for who, what, start, end in spans
        if end > start_s and start < end_s and (who == ENGINE or what == WAIT)
    ]
    for span in joined(inside):
        seconds[span.who == ENGINE] += span.end_s - span.start_s
    own = torch.tensor([seconds[False], end_s - start_s - seconds[True]], dtype=torch.float64)
    waits, idles = (ranks.all_reduce_sum(own) / ranks.world_size() / (end_s - start_s)).tolist()
    return {"time/trainer_wait_frac": waits, "time/engine_idle_frac": idles}


def stage_spans(blocks: Iterable[Block], *, own_weights: bool) -> list[Span]:
    """Return what trainer and engine did in the stages of a step without look-ahead.

    Args:
        blocks: Stages of the trainer that were inside no other stage.
        own_weights: Whether the engine has its own weights, so that the trainer waits while it
            generates. Otherwise the policy itself generates, and there is no lane of an engine.
    """
    found = []
    for stage, start, end in blocks:
        what = WORK.get(stage, stage)
        if own_weights and what in ("decode", "sync"):
            found.append(Span(ENGINE, what, start, end))
        found.append(Span(TRAINER, WAIT if own_weights and what == "decode" else what, start, end))
    return joined(found)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the spans by who, what and time; those of one kind that touch are one span."""
    found: list[Span] = []
    for span in sorted(spans):
        last = found[-1] if found else None
        if last and last[:2] == span[:2] and span.start_s <= last.end_s:
            found[-1] = last._replace(end_s=max(last.end_s, span.end_s))
        else:
            found.append(span)
    return found


def few(spans: Sequence[Span], most: int) -> list[Span]:
    """Return at most `most` spans per kind; the shortest gaps between them are closed.

    Args:
        spans: Spans as `joined` returns them.
        most: Number of spans of one kind, at least 1.
    """
    kinds: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in spans:
        kinds[span[:2]].append(span)
    found = []
    for same in kinds.values():
        gaps = sorted((b.start_s - a.end_s for a, b in pairwise(same)), reverse=True)
        kept = max(JOINED_S, gaps[most - 1] if len(gaps) >= most else 0.0)
        run = same[0]
        for span in same[1:]:
            if span.start_s - run.end_s > kept:
                found.append(run)
                run = span
            else:
                run = run._replace(end_s=span.end_s)
        found.append(run)
    return found


class TimelineFile:
    """Appends the spans of each step to `timeline.csv`, which stays below a few megabytes.

    Args:
        folder: The run folder.
        most_bytes: Size in bytes at which every second of the earlier steps is dropped.
        recent_steps: Number of rollout batches at the end that are always kept.
    """

    def __init__(
        self, folder: Path, *, most_bytes: int = MOST_BYTES, recent_steps: int = RECENT_STEPS
    ) -> None:
        self.path = folder / FILE
        self.most_bytes, self.recent_steps = most_bytes, recent_steps
        self._origin = time.perf_counter()

    def begin(self, step: int) -> None:
        """Drop the rows after a step, which a resumed run repeats, and continue its clock."""
        rows = []
        if self.path.exists():
            rows = [row for row in _rows(self.path) if int(row[0]) <= step]
            self._write(rows)
        self._origin = time.perf_counter() - max((float(row[4]) for row in rows), default=0.0)

    def append(self, step: int, spans: Sequence[Span]) -> None:
        """Append the spans of a step; spans from before `begin` are cut there."""
        rows = [
            (step, who, what, f"{max(0.0, start - self._origin):.3f}", f"{end - self._origin:.3f}")
            for who, what, start, end in few(spans, MOST_ROWS)
            if end - max(start, self._origin) > SHORTEST_S
        ]
        if not self.path.exists():
            self._write([])
        with writing(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
            size = file.tell()
        if size > self.most_bytes:
            self._thin()

    def _thin(self) -> None:
        """Drop every second step, the recent ones apart."""
        rows = [*_rows(self.path)]
        steps = sorted({int(row[0]) for row in rows})
        earlier = steps[: -self.recent_steps]
        dropped = {*earlier[1::2]}
        self._write(row for row in rows if int(row[0]) not in dropped)

    def _write(self, rows: Iterable[Sequence[str]]) -> None:
        with replaced_file(self.path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows)


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows on disk; a partial last line, left by a killed run, is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        next(file, None)
        yield from csv.reader(line for line in file if line.endswith("\n"))
