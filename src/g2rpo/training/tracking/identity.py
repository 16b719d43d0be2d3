"""Which W&B run a run folder is, and which runs belong together."""

import os
import re
import secrets
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from g2rpo.files import write_whole

NAMED_BY = ("advantage", "model", "task_mix")
"""Groups whose choices name a run."""
ID_FILE = "wandb_run_id.txt"
CLOCK = re.compile(r"\d\d-\d\d-\d\d")


def run_id(folder: Path, *, resumed: bool) -> str:
    """The id of the folder's run. A resumed run keeps its own; a new one gets a new id, or the one
    a W&B agent has reserved for it.
    """
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
    return next(
        (parent for parent in folder.resolve().parents if (parent / "multirun.yaml").is_file()),
        None,
    )


def group_name(folder: Path) -> str | None:
    """Name of the sweep folder, with the day before it where it is only a time of day; None outside
    of a sweep.
    """
    sweep = sweep_folder(folder)
    if sweep is None:
        return None
    return f"{sweep.parent.name}/{sweep.name}" if CLOCK.fullmatch(sweep.name) else sweep.name


def run_name(folder: Path) -> str:
    """What was chosen, as in `g2rpo-tiny-generalist-s0`; the last two parts of the folder if it
    notes no choices.

    >>> run_name(Path("outputs/sweeps/paper_ablation/3"))
    'paper_ablation/3'
    """
    choices, seed = chosen(folder).get("choices") or {}, chosen(folder).get("seed")
    if not all(choices.get(group) for group in NAMED_BY):
        return "/".join(folder.absolute().parts[-2:])
    return "-".join([*(str(choices[group]) for group in NAMED_BY), f"s{seed}"])


def chosen(folder: Path) -> dict[str, Any]:
    """`choices` by group, `overrides` and `seed` of a run, read from the `.hydra` files in its
    folder; empty without them.
    """
    settings, own = folder / ".hydra" / "hydra.yaml", folder / ".hydra" / "config.yaml"
    if not (settings.is_file() and own.is_file()):
        return {}
    hydra = OmegaConf.load(settings).hydra
    choices = {
        str(key): value
        for key, value in hydra.runtime.choices.items()
        if not str(key).startswith("hydra/") and value is not None
    }
    typed = [str(word) for word in hydra.overrides.task]
    return {
        "choices": choices,
        "overrides": typed,
        "seed": OmegaConf.select(OmegaConf.load(own), "seed"),
    }


def tags(folder: Path) -> list[str]:
    """Choices as W&B tags, `advantage=g2rpo`; a tag has at most 64 characters."""
    return [
        f"{group}={choice}"[:64]
        for group, choice in (chosen(folder).get("choices") or {}).items()
        if "@" not in group
    ]
