"""What a sweep consists of: `sweep.json` in its folder, written before the first job starts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from g2rpo.config_hash import config_hash, settings
from g2rpo.files import write_whole
from g2rpo.sweep.job import Job

PLAN = "sweep.json"
MOST_KEYS = 5


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A job of the plan: its values of the dimensions, all its overrides, and the hash of its
    settings.
    """

    values: Mapping[str, str]
    overrides: Sequence[str]
    hash: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep. `dimensions` are the keys in which its jobs differ, in the order of the command."""

    command: str = ""
    dimensions: tuple[str, ...] = ()
    jobs: Mapping[str, Planned] = field(default_factory=dict)

    def extended(
        self, folder: Path, command: str, dimensions: Sequence[str], jobs: Sequence[Job]
    ) -> "Plan":
        """Return the plan with more jobs of the same sweep.

        Raises:
            ValueError: If the jobs belong to another sweep.
        """
        names = [job.name for job in jobs]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"two jobs of this sweep would write into {folder / twice}; every value of a"
                " dimension may be given once"
            )
        if self.jobs and set(self.dimensions) != set(dimensions):
            raise ValueError(
                f"{folder} holds another sweep, over {' and '.join(self.dimensions)} and not over"
                f" {' and '.join(dimensions)}; choose another hydra.sweep.dir"
            )
        for job in jobs:
            known = self.jobs.get(job.name)
            if known is not None and known.hash != job.hash:
                raise ValueError(
                    f"{folder} holds another sweep: its job {job.name} has other settings"
                    f" ({changed_keys(job)}); choose another hydra.sweep.dir, or delete {folder}"
                )
        if (
            self.jobs
            and not set(names) & set(self.jobs)
            and fixed_of(self.jobs, self.dimensions) != fixed_of(_planned(jobs), dimensions)
        ):
            raise ValueError(
                f"{folder} holds another sweep, started with other options ({self.command}); choose"
                " another hydra.sweep.dir"
            )
        return Plan(
            command=command, dimensions=tuple(dimensions), jobs={**self.jobs, **_planned(jobs)}
        )

    def write(self, folder: Path) -> None:
        """Write `sweep.json`."""
        jobs = {
            name: {"values": dict(j.values), "overrides": list(j.overrides), "config_hash": j.hash}
            for name, j in self.jobs.items()
        }
        plain = {"command": self.command, "dimensions": list(self.dimensions), "jobs": jobs}
        write_whole(folder / PLAN, json.dumps(plain, indent=1) + "\n")


def _planned(jobs: Sequence[Job]) -> dict[str, Planned]:
    return {
        job.name: Planned(values=job.values, overrides=job.overrides, hash=job.hash) for job in jobs
    }


def fixed_of(jobs: Mapping[str, Planned], dimensions: Sequence[str]) -> set[str]:
    """Return the overrides that are the same for all jobs, without those of the logger."""
    keys = {*dimensions, "logger"}
    return {
        word
        for job in jobs.values()
        for word in job.overrides
        if word.partition("=")[0].split(".")[0] != "logger"
    } - {
        word
        for job in jobs.values()
        for word in job.overrides
        if word.partition("=")[0].lstrip("+~") in keys
    }


def changed_keys(job: Job) -> str:
    """Return how the settings of a job differ from those it was started with."""
    frozen = job.frozen()
    if frozen is None:
        return "its configuration is gone"
    old, new = (dict(flat(settings(cfg))) for cfg in (frozen, job.cfg))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    words = [f"{key} was {old.get(key)} and is {new.get(key)}" for key in keys[:MOST_KEYS]]
    return ", ".join(words) + (
        f", and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
    )


def flat(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested mappings with their dotted keys."""
    if not isinstance(tree, Mapping) or not tree:
        return [(path, tree)]
    return [
        leaf
        for key, inner in tree.items()
        for leaf in flat(inner, f"{path}.{key}" if path else str(key))
    ]


def read_plan(folder: Path) -> Plan | None:
    """Return the plan of a sweep folder; None if it is no sweep.

    It is read from `sweep.json` or, for a multirun of another launcher, from the jobs' `.hydra`.
    """
    path = folder / PLAN
    if not path.is_file():
        return _plan_of_jobs(folder) if (folder / "multirun.yaml").is_file() else None
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        jobs = {
            name: Planned(values=job["values"], overrides=job["overrides"], hash=job["config_hash"])
            for name, job in plain["jobs"].items()
        }
        return Plan(command=plain["command"], dimensions=tuple(plain["dimensions"]), jobs=jobs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the plan of a sweep ({error!r}); delete the file and start the sweep"
            " again"
        ) from None


def _plan_of_jobs(folder: Path) -> Plan:
    """Return a plan in which every run folder is a job, and the overrides that differ between
    jobs are the dimensions.
    """
    runs = sorted(
        (path.parent.parent for path in folder.glob("*/.hydra/config.yaml")),
        key=lambda run: (len(run.name), run.name),
    )
    typed = {run.name: _overrides(run) for run in runs}
    words = {
        name: dict(word.partition("=")[::2] for word in overrides)
        for name, overrides in typed.items()
    }
    keys = [key for key in dict.fromkeys(key for own in words.values() for key in own)]
    varied = tuple(key for key in keys if len({own.get(key) for own in words.values()}) > 1)
    return Plan(
        dimensions=tuple(key.lstrip("+") for key in varied),
        jobs={
            run.name: Planned(
                values={key.lstrip("+"): words[run.name].get(key, "-") for key in varied},
                overrides=typed[run.name],
                hash=config_hash(OmegaConf.load(run / ".hydra" / "config.yaml")),  # type: ignore[arg-type]
            )
            for run in runs
        },
    )


def _overrides(run: Path) -> list[str]:
    path = run / ".hydra" / "overrides.yaml"
    # not resolved, since values such as ${oc.env:NAME} stay out of the files of a sweep
    words = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else []
    return [str(word) for word in words]  # type: ignore[union-attr]
