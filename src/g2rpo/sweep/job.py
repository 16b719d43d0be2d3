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
"""Who runs a job: host, process, times, exit code."""
CONSOLE = "console.log"
"""What a job wrote to stdout and stderr, of all its tries."""
SAID = "[g2rpo][ERROR] - "
BEAT_S = 15.0
"""How often a process says that it is alive."""
SILENCE_S = 120.0
"""A process of another machine that has been silent for so long is taken for dead."""
MAX_NAME = 120


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is still to be started, or has been.

    Args:
        name: Of its folder in the sweep's: the values of the sweep's dimensions.
        folder: Where it writes.
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
        """Of the settings."""
        return config_hash(self.cfg)

    def freeze(self) -> None:
        """Writes the configuration that the job will run with, as Hydra does; edits of conf/ no
        longer reach it.
        """
        for name, part in (
            ("config", self.cfg),
            ("hydra", self.hydra),
            ("overrides", OmegaConf.create(list(self.overrides))),
        ):
            write_whole(self.folder / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(part))

    def frozen(self) -> DictConfig | None:
        """The configuration of an earlier start, if there was one."""
        path = self.folder / ".hydra" / "config.yaml"
        return OmegaConf.load(path) if path.is_file() else None  # type: ignore[return-value]


def job_name(values: Mapping[str, str]) -> str:
    """A folder's name from the values of the dimensions, with short keys; where something is lost,
    a hash keeps names apart.

    >>> job_name({"advantage": "grpo", "seed": "0"}), job_name({"shaping.length.bands.math": "[3,4,9,20]"})
    ('advantage=grpo,seed=0', 'math=3-4-9-20')
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
        name = f"{name[:MAX_NAME]},{hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:6]}"
    return name or "default"


def rounded(value: str) -> str:
    """A drawn number to four digits; any other word as it is."""
    return f"{float(value):.4g}" if re.fullmatch(r"-?\d*\.\d{5,}(e-?\d+)?", value) else value


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Of each dotted key the shortest end that no other key has.

    >>> short_keys(["shaping.length.weight", "shaping.entropy.weight", "seed"])
    {'shaping.length.weight': 'length.weight', 'shaping.entropy.weight': 'entropy.weight', 'seed': 'seed'}
    """
    parts = {key: key.split(".") for key in keys}
    ends = {
        key: [".".join(words[-n:]) for n in range(1, len(words) + 1)]
        for key, words in parts.items()
    }
    taken = Counter(end for own in ends.values() for end in own)
    return {key: next((end for end in own if taken[end] == 1), key) for key, own in ends.items()}


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What a finished run left; None where it has not finished. A broken file raises `ValueError`
    with its path.
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
    """How far a job has come; `wanted` is the hash of its settings.

    A job is finished when its summary is there and tells of the same settings. `stopped`: a process
    began it and is no more.
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
    """What `process.json` says; None where no process has begun the job."""
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
    """Notes that a process runs the job, or how it ended; written again and again, it says that the
    process is alive.
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
    """Whether the process of a mark still runs: asked here, or, of another machine, told from its
    last sign.
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
    """Whether a process has the job's folder on its command line: numbers of processes are used
    again.
    """
    path = Path(f"/proc/{pid}/cmdline")
    if not path.exists():
        return True  # no such file system here; the number must do
    words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if not words:  # it has only just begun, or it has ended and nobody has asked how
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return str(folder.resolve()) in words


def why(folder: Path, code: int | None) -> str:
    """How a job ended: the sentence it said, or the last line of its traceback, or what the exit
    code says.
    """
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
