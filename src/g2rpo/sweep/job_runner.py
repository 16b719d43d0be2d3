"""Where the jobs of a sweep run: on this machine, one or several at a time, or on a cluster."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, runtime_checkable

from g2rpo.sweep.process import Running, Task, run_task


@runtime_checkable
class Runner(Protocol):
    """Runs jobs somewhere."""

    jobs_at_once: int
    """Number of jobs that run at a time; used to estimate the remaining time."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, int]]:
        """Yield the position and the exit code of each task, in the order in which they end."""
        ...


class Local:
    """Runs jobs as processes on this machine.

    Args:
        jobs_at_once: Number of jobs that run at a time; each gets its share of the cores.
        gpus: The visible GPUs of each job, as in `["0", "1"]` or `["0,1", "2,3"]`; None shows all
            GPUs to all jobs.
    """

    def __init__(self, *, jobs_at_once: int = 1, gpus: Sequence[str] | None = None) -> None:
        if jobs_at_once < 1:
            raise ValueError(
                f"hydra.launcher.n_jobs: expected at least 1 job at a time, got {jobs_at_once}"
            )
        if gpus is not None and len(gpus) != jobs_at_once:
            raise ValueError(
                f"hydra.launcher.gpus: expected one entry for each of the {jobs_at_once} jobs at a"
                f" time, got {list(gpus)}"
            )
        self.jobs_at_once = jobs_at_once
        self.seats: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        threads = max(1, (os.cpu_count() or 1) // jobs_at_once)
        for i in range(jobs_at_once):
            share = (
                {"OMP_NUM_THREADS": str(threads)}
                if jobs_at_once > 1 and "OMP_NUM_THREADS" not in os.environ
                else {}
            )
            self.seats.put(share | ({"CUDA_VISIBLE_DEVICES": gpus[i]} if gpus is not None else {}))

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, int]]:
        """Run the tasks; if the caller stops early, running jobs are terminated."""
        running = Running()
        pool = ThreadPoolExecutor(max_workers=self.jobs_at_once)
        try:
            futures = {pool.submit(self._seated, running, task): i for i, task in enumerate(tasks)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            running.stop()
            pool.shutdown(cancel_futures=True)

    def _seated(self, running: Running, task: Task) -> int:
        seat = self.seats.get()
        try:
            return running.run(replace(task, extra={**task.extra, **seat}))
        finally:
            self.seats.put(seat)


class Submitit:
    """Runs jobs on a cluster with submitit, as one job array. They outlive the sweep's process.

    Args:
        cluster: `slurm`, or `local` to try it without a cluster.
        folder: Folder of submitit's own files.
        parameters: Arguments of submitit's `update_parameters`, such as `timeout_min`,
            `gpus_per_node` or `slurm_partition`.
        array_parallelism: Maximum number of jobs that run at a time.
        poll_s: Polling interval of the queue in seconds.
    """

    def __init__(
        self,
        *,
        cluster: str,
        folder: Path,
        parameters: Mapping[str, Any],
        array_parallelism: int = 256,
        poll_s: float = 5.0,
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise ValueError(
                "hydra/launcher: submitit is not installed; pip install -c constraints/ci.txt -e"
                " .[sweeps]"
            ) from None
        self.jobs_at_once = array_parallelism
        self.poll_s = poll_s
        self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        bound = {"slurm_array_parallelism": array_parallelism} if cluster == "slurm" else {}
        self.executor.update_parameters(**parameters, **bound)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, int]]:
        """Run the tasks; a job that the cluster ended without an exit code counts as killed."""
        waiting = dict(enumerate(self.executor.map_array(run_task, list(tasks))))
        while waiting:
            ended = [i for i, job in waiting.items() if job.done()]
            for i in ended:
                code = -9
                with suppress(
                    Exception
                ):  # submitit raises what the cluster says; the job's own folder tells more
                    code = max(waiting[i].results())
                del waiting[i]
                yield i, code
            time.sleep(0 if ended else self.poll_s)
