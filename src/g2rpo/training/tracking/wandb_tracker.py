"""Logs a run to W&B: metrics, configuration, git state, code, completions and benchmarks.

All files are in `folder/wandb`, artifacts included, so that an offline run can be uploaded from
there. A step stays open until the next one begins, because a validation may add numbers to it.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from g2rpo.metrics import METRICS, Metric, checked
from g2rpo.records import Experience
from g2rpo.training.showcase import has_table
from g2rpo.training.tracking.identity import chosen, group_name, run_id, run_name, tags
from g2rpo.training.tracking.table_rows import (
    BENCHMARK_COLUMNS,
    COMPLETION_COLUMNS,
    benchmark_rows,
    completion_rows,
)

PACKAGE = Path(__file__).parents[2]
STAGING = "WANDB_DATA_DIR"


class WandbTracker(Logger):
    """Logger for W&B. Only the first rank writes; `close` ends the W&B run.

    Args:
        folder: The run folder; the id of the W&B run is kept there.
        project: Project in W&B.
        offline: Whether to send nothing; `wandb sync` uploads later. False follows WANDB_MODE.
        resume: The value of `resume`; unless it is None, the W&B run is resumed too.
        entity: User or team that owns the project; None means your own.
        group: Name shared by runs that belong together; None means the name of the sweep folder.
        job_type: `train` or `evaluate`.
        tables_every: Number of rollout batches between two tables of completions, at least 1. Long
            runs have fewer, see `showcase.has_table`.
        rows_per_task: Number of completions per task in a table; 0 writes no tables.
        image_px: Longest side in pixels of a picture in a table, at least 16.

    Raises:
        ValueError: if one of the last three is too small.
    """

    def __init__(
        self,
        *,
        folder: str | Path,
        project: str,
        offline: bool = True,
        resume: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        job_type: str = "train",
        tables_every: int = 10,
        rows_per_task: int = 2,
        image_px: int = 256,
    ) -> None:
        super().__init__()
        for key, value, least in (
            ("tables_every", tables_every, 1),
            ("rows_per_task", rows_per_task, 0),
            ("image_px", image_px, 16),
        ):
            if value < least:
                raise ValueError(f"logger.wandb.{key}: expected at least {least}, got {value}")
        self.folder = Path(folder)
        self.project, self.offline, self.resumed, self.entity = (
            project,
            offline,
            resume is not None,
            entity,
        )
        self.group, self.job_type = group, job_type
        self.tables_every, self.rows_per_task, self.image_px = tables_every, rows_per_task, image_px
        self.constants: dict[str, float] = {}
        """Numbers logged with every step, such as bands."""
        self._run: Any = None
        self._open_step: int | None = None
        self._staging: str | None = None

    @property
    def name(self) -> str:
        """Not part of any path."""
        return self.project

    @property
    def version(self) -> str | None:
        """The id of the W&B run once it has started."""
        return None if self._run is None else self._run.id

    @property
    def run(self) -> Any:
        """The W&B run, which the first access starts."""
        if self._run is None:
            self._run = self._opened()
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log the resolved configuration; this starts the W&B run."""
        self.run.config.update(dict(params), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add numbers to a step.

        Args:
            metrics: Numbers by declared name.
            step: `trainer.global_step`, the number of optimizer updates so far; 0 before training.
        """
        row = {name: float(value) for name, value in checked(metrics).items() if name != "epoch"}
        self._log(row | self.constants, step or 0)

    @rank_zero_only
    def log_completions(self, experience: Experience, step: int, rollout_batch: int) -> None:
        """Log a table of some completions of this rank if the rollout batch is due for one."""
        if self.rows_per_task and has_table(rollout_batch, self.tables_every):
            rows = completion_rows(
                step, experience, per_task=self.rows_per_task, image_px=self.image_px
            )
            columns = tuple(rows[0]) if rows else COMPLETION_COLUMNS
            self._log({"completions": _table(columns, rows)}, step)

    @rank_zero_only
    def log_benchmarks(self, entries: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Log a table with one row per benchmark."""
        if entries:
            self._log(
                {"benchmarks": _table(BENCHMARK_COLUMNS, benchmark_rows(step, entries))}, step
            )

    @rank_zero_only
    def end_step(self) -> None:
        """Commit the numbers of the latest step, which is complete now."""
        if self._open_step is not None:
            self.run.log({}, step=self._open_step, commit=True)
            self._open_step = None

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run as failed after an error; a finished run is evaluated first."""
        if status != "success":
            self._finish(exit_code=1)

    @rank_zero_only
    def close(self, summary: Mapping[str, Any]) -> None:
        """End the W&B run and add the contents of summary.json to its summary."""
        self.run.summary.update({f"run/{key}": value for key, value in summary.items()})
        self._finish(exit_code=0)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        self.run.log({**values, "step": step}, step=step)
        self._open_step = step

    def _opened(self) -> Any:
        self._staging = os.environ.get(STAGING)
        # the folder in which artifacts wait for their upload
        os.environ[STAGING] = str((self.folder / "wandb").absolute())
        import wandb  # a second of a run's start, also of runs without it

        run = wandb.init(
            project=self.project,
            entity=self.entity,
            dir=str(self.folder),
            id=run_id(self.folder, resumed=self.resumed),
            resume="allow",
            mode="offline" if self.offline else None,
            group=self.group or group_name(self.folder),
            job_type=self.job_type,
            name=run_name(self.folder),
            tags=tags(self.folder),
            reinit="create_new",
            settings=wandb.Settings(console="off", quiet=True),
        )
        if how := chosen(self.folder):
            run.config.update(
                {"hydra": {key: how[key] for key in ("choices", "overrides")}},
                allow_val_change=True,
            )
        run.define_metric("step", hidden=True)
        for metric in METRICS:
            run.define_metric(pattern(metric), step_metric="step", summary=metric.summary)
        run.log_code(
            str(PACKAGE),
            name=f"source-{self.project}",
            include_fn=lambda path: path.endswith((".py", ".yaml", ".csv", ".jinja")),
        )
        return run

    def _finish(self, exit_code: int) -> None:
        if self._run is None:
            return
        self._run.finish(exit_code=exit_code)
        self._run = None
        if self._staging is None:
            os.environ.pop(STAGING, None)
        else:
            os.environ[STAGING] = self._staging


def trackers(loggers: Iterable[Any]) -> list[WandbTracker]:
    """Return the W&B loggers among the loggers of a run."""
    return [logger for logger in loggers if isinstance(logger, WandbTracker)]


def pattern(metric: Metric) -> str:
    """Return the name or pattern of a metric for `define_metric`."""
    return (
        f"{metric.name}/*"
        if metric.per_task or metric.per_pair or metric.per_benchmark
        else metric.name
    )


def _table(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Any:
    import wandb

    names = list(columns)
    data = [
        [
            wandb.Image(row[name]) if name == "image" and row[name] is not None else row[name]
            for name in names
        ]
        for row in rows
    ]
    return wandb.Table(columns=names, data=data)
