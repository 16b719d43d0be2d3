"""Which W&B run a run folder is, and which runs belong together."""

import os
import re
import secrets
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from g2rpo.files import write_whole

ID_FILE = "wandb_run_id.txt"
CLOCK = re.compile(r"\d\d-\d\d-\d\d")


def run_id(folder: Path, *, resumed: bool) -> str:
    """The id of the folder's run. A resumed run keeps its own; a new one gets a new id, or the one a W&B agent has reserved for it."""
    kept = folder / ID_FILE
    if resumed and kept.is_file():
        return kept.read_text(encoding="utf-8").strip()
    chosen = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    write_whole(kept, chosen + "\n")
    return chosen


def sweep_folder(folder: Path) -> Path | None:
    """The folder of the multirun that a run folder lies in, None outside of one."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return Path(HydraConfig.get().sweep.dir)
    return next((parent for parent in folder.resolve().parents if (parent / "multirun.yaml").is_file()), None)


def group_name(folder: Path) -> str | None:
    """Name of the sweep folder, with the day before it where it is only a time of day; None outside of a sweep."""
    sweep = sweep_folder(folder)
    if sweep is None:
        return None
    return f"{sweep.parent.name}/{sweep.name}" if CLOCK.fullmatch(sweep.name) else sweep.name


def run_name(folder: Path) -> str:
    """The last two parts of the folder: a day and a time, or a sweep and a job.

    >>> run_name(Path("outputs/sweeps/paper_ablation/3"))
    'paper_ablation/3'
    """
    return "/".join(folder.absolute().parts[-2:])
