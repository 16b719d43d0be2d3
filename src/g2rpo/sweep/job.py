"""One run of a sweep: its frozen configuration, its folder, and how far it has come."""

import hashlib
import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from g2rpo.config_hash import config_hash
from g2rpo.files import write_whole

State = Literal["finished", "running", "failed", "stopped", "waiting"]
PROCESS = "process.json"
"""File with the host, process id, times and exit code of a job."""
CONSOLE = "console.log"
"""File with the stdout and stderr of all attempts of a job."""
SAID = "[g2rpo][ERROR] - "
BEAT_S = 15.0
"""Seconds between two signs of life of a process."""
SILENCE_S = 120.0
"""A process on another machine counts as dead after so many seconds without a sign of life."""
MAX_NAME = 120


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a sweep, started or not.

    Args:
        name: Name of its folder, made of the values of the sweep's dimensions.
        folder: Folder that the run writes to.
        values: The dimensions of the sweep, as typed: `{"advantage": "grpo", "seed": "0"}`.
        overrides: Everything that was typed, dimensions included.
        cfg: The composed configuration, without Hydra's part.
        hydra: Hydra's part of it.
    """

    name: str
    folder: Path
    values: Mapping[str, str]
    overrides: Sequence[str]
    cfg: DictConfig
    hydra: DictConfig

    @property
    def hash(self) -> str:
        """Hash of the settings."""
        return config_hash(self.cfg)

    def freeze(self) -> None:
        """Write the job's configuration as Hydra does; later edits of conf/ do not change it."""
        for name, part in (
            ("config", self.cfg),
            ("hydra", self.hydra),
            ("overrides", OmegaConf.create(list(self.overrides))),
        ):
            write_whole(self.folder / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(part))

    def frozen(self) -> DictConfig | None:
        """Return the configuration of an earlier start; None if there was none."""
        path = self.folder / ".hydra" / "config.yaml"
        return OmegaConf.load(path) if path.is_file() else None  # type: ignore[return-value]


def job_name(values: Mapping[str, str]) -> str:
    """Return a folder name made of the dimensions' short keys and values.

    A hash is added if values were shortened, so that names stay unique.

    >>> job_name({"advantage": "grpo", "seed": "0"})
    'advantage=grpo,seed=0'
    >>> job_name({"shaping.length.bands.math": "[3,4,9,20]"})
    'math=3-4-9-20'
    >>> job_name({"a.weight": "0.22852913149", "b.weight": "0.5"})
    'a.weight=0.2285,b.weight=0.5,054b4c'
    """
    words = {
        key: re.sub(r"[^A-Za-z0-9._+-]+", "-", rounded(value)).strip("-")
        for key, value in values.items()
    }
    name = ",".join(f"{short}={words[key]}" for key, short in short_keys(values).items())
    lost = len(name) > MAX_NAME or any(rounded(value) != value for value in values.values())
    if lost:
        digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
        name = f"{name[:MAX_NAME]},{digest[:6]}"
    return name or "default"


def rounded(value: str) -> str:
    """Return a long decimal number with four digits; any other text unchanged."""
    return f"{float(value):.4g}" if re.fullmatch(r"-?\d*\.\d{5,}(e-?\d+)?", value) else value


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return for each dotted key the shortest suffix that no other key has.

    >>> short_keys(["length.weight", "entropy.weight", "batch.seed"])
    {'length.weight': 'length.weight', 'entropy.weight': 'entropy.weight', 'batch.seed': 'seed'}
    """
    parts = {key: key.split(".") for key in keys}
    ends = {
        key: [".".join(words[-n:]) for n in range(1, len(words) + 1)]
        for key, words in parts.items()
    }
    taken = Counter(end for own in ends.values() for end in own)
    return {key: next((end for end in own if taken[end] == 1), key) for key, own in ends.items()}


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary of a finished run; None if the run has not finished.

    Raises:
        ValueError: If the file is not a summary; the message has its path.
    """
    path = folder / "summary.json"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        summary = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected a JSON object ({error}); delete the file, and the job runs again"
        ) from None
    if not isinstance(summary, dict) or "config_hash" not in summary:
        raise ValueError(
            f"{path}: expected a JSON object with config_hash, got {text[:60]!r}; delete the file,"
            " and the job runs again"
        )
    return summary


def state_of(folder: Path, wanted: str) -> State:
    """Return the state of a job whose settings have the hash `wanted`.

    A job is finished if its summary has this hash. It is stopped if its process is gone.
    """
    summary = read_summary(folder)
    if summary is not None and summary["config_hash"] == wanted:
        return "finished"
    mark = read_mark(folder)
    if mark is None:
        return "waiting"
    if mark.get("exit_code") is None:
        return "running" if alive(mark, folder) else "stopped"
    return "failed" if mark["exit_code"] > 0 else "stopped"


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return the content of `process.json`; None if no process has started the job."""
    try:
        mark: dict[str, Any] = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{folder / PROCESS}: expected a JSON object ({error}); delete the file"
        ) from None
    return mark


def write_mark(folder: Path, pid: int, started_s: float, exit_code: int | None = None) -> None:
    """Write which process runs the job, and its exit code once it has ended.

    The file is rewritten at intervals as a sign of life.
    """
    ended_s = None if exit_code is None else time.time()
    mark = {
        "host": socket.gethostname(),
        "pid": pid,
        "started_s": started_s,
        "ended_s": ended_s,
        "exit_code": exit_code,
    }
    write_whole(folder / PROCESS, json.dumps(mark) + "\n")


def alive(mark: Mapping[str, Any], folder: Path) -> bool:
    """Return whether the process of a mark still runs.

    A process on another machine counts as running for `SILENCE_S` after its last sign of life.
    """
    if mark["host"] != socket.gethostname():
        return time.time() - (folder / PROCESS).stat().st_mtime < SILENCE_S
    try:
        os.kill(mark["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # the number has gone to somebody else's process
    return _is_of(mark["pid"], folder)


def _is_of(pid: int, folder: Path) -> bool:
    """Return whether the process has the job's folder on its command line.

    The process id alone does not tell, because ids are reused.
    """
    path = Path(f"/proc/{pid}/cmdline")
    if not path.exists():
        return True  # no such file system here; the number must do
    words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if not words:  # it has only just begun, or it has ended and nobody has asked how
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return str(folder.resolve()) in words


def why(folder: Path, code: int | None) -> str:
    """Return why a job failed: its error message, last traceback line, or exit code."""
    said = [line.partition(SAID)[2] for line in _lines(folder / CONSOLE) if SAID in line]
    hydras = ("full_key: ", "object_type=")  # what Hydra adds below its message
    trace = [
        line
        for line in _lines(folder / "error.txt")
        if line.strip() and not line.strip().startswith(hydras)
    ]
    if trace:
        return said[-1] if said else trace[-1]
    if code is None:
        return "its process is gone"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
