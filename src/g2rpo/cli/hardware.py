"""What a machine has: processors, memory, disks, GPUs, and packages that can be imported.

Imports are tried in a child process, because a library that does not fit its neighbors may end the
process instead of raising an exception. `python -m g2rpo.cli.hardware torch vllm` is that child.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
_MARK = "\x1eg2rpo "
"""Begins the child's lines on standard output, on which imported libraries write too."""


@dataclass(frozen=True)
class Disk:
    """Free space of a folder."""

    folder: Path
    free_gib: float
    writable: bool


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver sees it."""

    name: str
    memory_gib: float
    used_gib: float
    driver: str


def memory_gib() -> float:
    """Return the machine's memory in GiB, or the limit of the container, if that is lower."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(whole, int(text) / GIB) if text.isdecimal() else whole


def disk(folder: Path) -> Disk:
    """Return the free space of a folder, or of the nearest folder above that exists."""
    folder = folder.expanduser().absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return Disk(folder, shutil.disk_usage(there).free / GIB, os.access(there, os.W_OK))


def gpus() -> list[Gpu]:
    """Return the GPUs that `nvidia-smi` lists; none if there is no such program."""
    fields = "name,memory.total,memory.used,driver_version"
    words = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(  # noqa: S603  fixed words
            words, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.split(", ") for line in listed.stdout.splitlines() if line.count(", ") == 3]
    return [
        Gpu(name, float(total) / 1024, float(used) / 1024, driver)
        for name, total, used, driver in rows
        if not listed.returncode and total.isdecimal() and used.isdecimal()
    ]


def imported(modules: Sequence[str], timeout_s: float = 300.0) -> tuple[dict[str, str], dict]:
    """Import modules one after the other in a child process.

    Args:
        modules: Names of modules; `torch` also reports its GPUs.
        timeout_s: Maximum number of seconds for all of them.

    Returns:
        The error by module, '' if it can be imported; and what torch sees (`seen_by_torch`),
        empty if torch cannot be imported.
    """
    errors: dict[str, str] = {}
    torch: dict[str, Any] = {}
    while rest := [name for name in modules if name not in errors]:
        words = [sys.executable, "-W", "ignore", "-m", "g2rpo.cli.hardware", *rest]
        with subprocess.Popen(  # noqa: S603  fixed words
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        ) as child:
            timer = threading.Timer(timeout_s, child.kill)
            timer.start()
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith(_MARK):
                    said = json.loads(line.removeprefix(_MARK))
                    errors |= said.get("errors", {})
                    torch |= said.get("torch", {})
            timer.cancel()
        waiting = [name for name in rest if name not in errors]
        if waiting:
            errors[waiting[0]] = f"the process ended with code {child.returncode}"
    return errors, torch


def seen_by_torch() -> dict[str, Any]:
    """Return torch's CUDA version and its GPUs: name, compute capability, and whether its kernels
    were built for them.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    capabilities = [torch.cuda.get_device_capability(index) for index in range(count)]
    return {
        "cuda": torch.version.cuda,
        "gpus": count,
        "capabilities": [f"{major}.{minor}" for major, minor in capabilities],
        "built_for": torch.cuda.get_arch_list() if count else [],
        "threads": torch.get_num_threads(),
    }


def _try(modules: Sequence[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
            error, facts = "", seen_by_torch() if name == "torch" else {}
        except Exception as exception:  # noqa: BLE001  it is reported
            lines = str(exception).strip().splitlines() or [""]
            error, facts = f"{type(exception).__name__}: {lines[0]}", {}
        said = json.dumps({"errors": {name: error}, "torch": facts})
        sys.stdout.write(f"\n{_MARK}{said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _try(sys.argv[1:])
