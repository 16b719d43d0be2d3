"""Launchers of Hydra that run each job of a sweep as a process (`g2rpo.sweep`):
`hydra/launcher=g2rpo`, `g2rpo_parallel`, `g2rpo_slurm` and `g2rpo_submitit`.

Hydra finds plug-ins only in this package and imports it at every start, so heavy imports are inside
functions.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from g2rpo.sweep.job import Job
    from g2rpo.sweep.job_runner import Runner


HERE = "hydra_plugins.g2rpo_launcher"
LAUNCHERS: dict[str, dict[str, Any]] = {
    "g2rpo": {"_target_": f"{HERE}.SerialLauncher"},
    "g2rpo_parallel": {"_target_": f"{HERE}.ParallelLauncher", "n_jobs": 2, "gpus": None},
    "g2rpo_submitit": {
        "_target_": f"{HERE}.SubmititLauncher",
        "cluster": "local",
        "poll_s": 0.2,
        "timeout_min": 240,
    },
    "g2rpo_slurm": {
        "_target_": f"{HERE}.SubmititLauncher",
        "cluster": "slurm",
        "poll_s": 5.0,
        "array_parallelism": 256,
        "timeout_min": 240,
        "nodes": 1,
        "tasks_per_node": 1,
        "cpus_per_task": 8,
        "gpus_per_node": 1,
        "slurm_partition": None,
    },
}
"""Our choices of `hydra/launcher`; those of Hydra and other packages remain available."""
for _name, _node in LAUNCHERS.items():
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=_node, provider="g2rpo")


class _SweepLauncher(Launcher):
    """Composes all jobs, then lets `g2rpo.sweep` run those that are missing."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.config = hydra_context, config
        if (
            int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) > 0
            or int(os.environ.get("WORLD_SIZE", "1")) > 1
        ):
            raise CompactHydraException(
                "a sweep is started once, not by every rank: leave torchrun out; trainer=ddp starts"
                " its own processes"
            )

    def runner(self, folder: Path) -> "Runner":
        raise NotImplementedError

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs that are missing.

        If a job fails, the others still run, and the command ends with status 1.
        """
        from g2rpo.cli.checks import refuse_added
        from g2rpo.cli.errors import give_errors_back
        from g2rpo.report.sweep.write import write_sweep_report
        from g2rpo.sweep.launch import Sweep

        give_errors_back()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = Path(str(self.config.hydra.sweep.dir))
        dimensions = self._dimensions()
        try:
            refuse_added(self.config.hydra)
            jobs = [
                self._job(folder, dimensions, list(o), initial_job_idx + i)
                for i, o in enumerate(job_overrides)
            ]
            sweep = Sweep(
                folder=folder,
                script=str(Path(sys.argv[0]).resolve()),
                command=" ".join(["python", *sys.argv]),
                dimensions=dimensions,
                runner=self.runner(folder),
                write_report=write_sweep_report,
                first=initial_job_idx,
                total=OmegaConf.select(self.config, "hydra.sweeper.n_trials")
                or initial_job_idx + len(jobs),
            )
            with _terminable():
                outcomes = sweep.run(jobs)
            page = folder.resolve() / "sweep.html"
            sys.stdout.write(f"sweep: {page}\n" if page.is_file() else "")
        except ValueError as error:
            raise CompactHydraException(str(error)) from None
        failed = [job.name for job, outcome in zip(jobs, outcomes, strict=True) if outcome.failure]
        words = (
            f"{len(failed)} of {len(jobs)} jobs have failed ({', '.join(failed)}); the same command"
            " runs them again"
        )
        return [
            JobReturn(
                overrides=list(job.overrides),
                cfg=job.cfg,
                hydra_cfg=job.hydra,
                working_dir=str(job.folder),
                task_name=self.config.hydra.job.name,
                status=JobStatus.FAILED if outcome.failure else JobStatus.COMPLETED,
                _return_value=CompactHydraException(words) if outcome.failure else outcome.score,
            )
            for job, outcome in zip(jobs, outcomes, strict=True)
        ]

    def _dimensions(self) -> list[str]:
        """Return the sweeper's parameters and the keys with several values on the command line."""
        given = OmegaConf.select(self.config, "hydra.sweeper.params") or {}
        typed = OmegaConf.to_container(self.config.hydra.overrides.task)
        assert isinstance(typed, list)
        parsed = OverridesParser.create(config_loader=self.context.config_loader).parse_overrides(
            typed
        )
        varied = [override.get_key_element() for override in parsed if override.is_sweep_override()]
        return list(dict.fromkeys(key.lstrip("+") for key in (*map(str, given), *varied)))

    def _job(
        self, folder: Path, dimensions: Sequence[str], overrides: list[str], number: int
    ) -> "Job":
        from g2rpo.sweep.job import Job, job_name

        typed = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
        values = {key: typed[key] for key in dimensions}
        name = job_name(values)
        whole = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(whole):
            whole.hydra.job.id = whole.hydra.job.num = number
            whole.hydra.sweep.subdir = name
            whole.hydra.runtime.output_dir = str((folder / name).resolve())
        cfg, hydra = deepcopy(whole), OmegaConf.masked_copy(whole, "hydra")
        with open_dict(cfg):
            del cfg["hydra"]
        return Job(
            name=name,
            folder=folder / name,
            values=values,
            overrides=filter_overrides(overrides),
            cfg=cfg,
            hydra=hydra,
        )


class SerialLauncher(_SweepLauncher):
    """Runs one job after the other."""

    def runner(self, folder: Path) -> "Runner":
        """Return a runner on this machine."""
        from g2rpo.sweep.job_runner import Local

        return Local()


class ParallelLauncher(_SweepLauncher):
    """Runs `n_jobs` jobs at a time; `gpus` lists the visible GPUs of each."""

    def __init__(self, n_jobs: int = 2, gpus: Sequence[Any] | None = None) -> None:
        self.n_jobs = n_jobs
        self.gpus = None if gpus is None else [str(seen) for seen in gpus]

    def runner(self, folder: Path) -> "Runner":
        """Return a runner on this machine."""
        from g2rpo.sweep.job_runner import Local

        return Local(jobs_at_once=self.n_jobs, gpus=self.gpus)


class SubmititLauncher(_SweepLauncher):
    """Runs a job array on a cluster. Other parameters are passed to submitit."""

    def __init__(
        self, cluster: str, array_parallelism: int = 256, poll_s: float = 5.0, **parameters: Any
    ) -> None:
        self.cluster, self.array_parallelism, self.poll_s = cluster, array_parallelism, poll_s
        self.parameters = {
            key: (
                OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            )
            for key, value in parameters.items()
        }

    def runner(self, folder: Path) -> "Runner":
        """Return a runner on the cluster."""
        from g2rpo.sweep.job_runner import Submitit

        own = folder / ".submitit" / "%j"
        given = {key: value for key, value in self.parameters.items() if value is not None}
        return Submitit(
            cluster=self.cluster,
            folder=own,
            parameters=given,
            array_parallelism=self.array_parallelism,
            poll_s=self.poll_s,
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the sweep and its jobs, as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
