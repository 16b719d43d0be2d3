"""Runs a sweep: freezes every job, runs those that are missing, and logs how each one ended.

A job is done if it has a `summary.json` of the same settings. Repeating the command, after a crash
or with more values, runs the rest.
"""

import fcntl
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from g2rpo.sweep.job import CONSOLE, Job, read_mark, read_summary, state_of, why
from g2rpo.sweep.job_runner import Runner
from g2rpo.sweep.process import Task
from g2rpo.sweep.sweep_plan import Plan, read_plan

log = logging.getLogger("g2rpo")
LOCK = ".lock"
LOOK_S = 2.0
PAGE_REST = 10.0
"""Writing the page of many jobs may take longer than a short job. The next page is written after at
least this many times the seconds that the last one took.
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The held-out macro score of a job (NaN if it has none), or why the job failed."""

    score: float = math.nan
    failure: str | None = None


@dataclass(kw_only=True)
class Sweep:
    """Runs jobs into one folder.

    Args:
        folder: Folder of the whole sweep.
        script: Absolute path of `train.py`.
        command: The command line as typed.
        dimensions: The keys that are varied.
        runner: Runs the jobs, on this machine or a cluster.
        write_report: Writes the report page of the folder.
        total: Number of jobs of the whole sweep; a search passes them on a few at a time.
        first: Number of jobs that were passed on before.
    """

    folder: Path
    script: str
    command: str
    dimensions: Sequence[str]
    runner: Runner
    write_report: Callable[[Path], object]
    total: int
    first: int = 0

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run the missing jobs and return one outcome per job, in their order.

        Raises:
            ValueError: If the folder belongs to another sweep; no job has been started then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            plan = (
                read_plan(self.folder) if (self.folder / "sweep.json").is_file() else None
            ) or Plan()
            plan.extended(self.folder, self.command, self.dimensions, jobs).write(self.folder)
            states = {job.name: state_of(job.folder, job.hash) for job in jobs}
            missing = [job for job in jobs if states[job.name] != "finished"]
            for job in missing:
                if states[job.name] != "running":
                    job.freeze()
            self._report()
            self._execute(jobs, missing)
            return [self._outcome(job) for job in jobs]

    def _execute(self, jobs: Sequence[Job], missing: list[Job]) -> None:
        done, begun, due = self.first + len(jobs) - len(missing), time.monotonic(), 0.0
        if len(missing) < len(jobs):
            log.info("%d/%d done already", done, self.total)
        for i, (job, seconds) in enumerate(self._ended(missing), start=1):
            left = (time.monotonic() - begun) / i * (self.total - done - i)
            log.info("%s", self._line(job, done + i, seconds, left))
            if i == len(missing) or time.monotonic() >= due:
                asked = time.monotonic()
                self._report()
                due = time.monotonic() + PAGE_REST * (time.monotonic() - asked)

    def _ended(self, missing: list[Job]) -> Iterator[tuple[Job, float]]:
        """Yield jobs as they end, with their seconds.

        Jobs that an earlier, killed sweep left running come last.
        """
        busy = [job for job in missing if state_of(job.folder, job.hash) == "running"]
        yield from self._run([job for job in missing if job not in busy])
        for job in busy:
            log.info("%s runs already; waiting for it", job.name)
            since = time.monotonic()
            while state_of(job.folder, job.hash) == "running":
                time.sleep(LOOK_S)
            if state_of(job.folder, job.hash) == "finished":
                yield job, time.monotonic() - since
            else:
                yield from self._run([job])

    def _run(self, jobs: list[Job]) -> Iterator[tuple[Job, float]]:
        if not jobs:
            return
        group, cwd = self.folder.name, str(Path.cwd())
        tasks = [
            Task(script=self.script, folder=str(job.folder.resolve()), cwd=cwd, group=group)
            for job in jobs
        ]
        begun = time.time()
        for i, _ in self.runner.run(tasks):
            yield jobs[i], seconds_of(jobs[i], begun)

    def _line(self, job: Job, done: int, seconds: float, left: float) -> str:
        """Return the log line of a job."""
        outcome = self._outcome(job)
        scored = (
            "no held-out score" if math.isnan(outcome.score) else f"held-out {outcome.score:.3f}"
        )
        words = f"FAILED: {outcome.failure}" if outcome.failure else scored
        return (
            f"{done}/{self.total} {job.name} | {words} | {timedelta(seconds=round(seconds))} | "
            + (f"{timedelta(seconds=round(left))} left" if left else "last job")
        )

    def _outcome(self, job: Job) -> Outcome:
        try:
            summary, mark = read_summary(job.folder), read_mark(job.folder) or {}
        except ValueError as error:  # a job left a damaged file; the others go on
            return Outcome(failure=str(error))
        if summary is not None and summary["config_hash"] == job.hash:
            macro = ((summary.get("heldout") or {}).get("after") or {}).get("macro")
            return Outcome(score=math.nan if macro is None else float(macro))
        if mark.get("exit_code") == 0:
            return Outcome()  # a job that trains nothing, as pilot.py, has no summary
        return Outcome(
            failure=f"{why(job.folder, mark.get('exit_code'))}; see {job.folder / CONSOLE}"
        )

    def _report(self) -> None:
        """Write the page; a failure is logged and does not stop the jobs."""
        try:
            self.write_report(self.folder)
        except (ValueError, OSError) as error:
            log.warning("no report yet: %s", error)


def seconds_of(job: Job, begun: float) -> float:
    """Return the run time of the last process of a job, in seconds."""
    try:
        mark = read_mark(job.folder) or {}
    except ValueError:  # reported as the outcome of the job
        mark = {}
    return (mark.get("ended_s") or time.time()) - mark.get("started_s", begun)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder against a second sweep; the lock ends with the process."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{folder}: another process runs a sweep in this folder at this moment; wait for"
                " it, or end it"
            ) from None
        yield
