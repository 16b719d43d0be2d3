"""Id, name, group and tags of a run in W&B."""

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
"""Configuration groups whose choices form the name of a run."""
ID_FILE = "wandb_run_id.txt"
CLOCK = re.compile(r"\d\d-\d\d-\d\d")


def run_id(folder: Path, *, resumed: bool) -> str:
    """Return the W&B id of a run folder.

    A resumed run keeps its id. A new one gets a new id, or the id that a W&B agent reserved.
    """
    kept = folder / ID_FILE
    if resumed and kept.is_file():
        return kept.read_text(encoding="utf-8").strip()
    chosen = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    write_whole(kept, chosen + "\n")
    return chosen


def sweep_folder(folder: Path) -> Path | None:
    """Return the folder of the multirun that contains a run folder, or None."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return Path(HydraConfig.get().sweep.dir)
    return next(
        (parent for parent in folder.resolve().parents if (parent / "multirun.yaml").is_file()),
        None,
    )


def group_name(folder: Path) -> str | None:
    """Return the name of the sweep folder, or None outside of a sweep.

    If the name is only a time of day, the day precedes it.
    """
    sweep = sweep_folder(folder)
    if sweep is None:
        return None
    return f"{sweep.parent.name}/{sweep.name}" if CLOCK.fullmatch(sweep.name) else sweep.name


def run_name(folder: Path) -> str:
    """Return a name from the choices, such as `g2rpo-tiny-generalist-s0`.

    Without recorded choices it is the last two parts of the folder.

    >>> run_name(Path("outputs/sweeps/paper_ablation/3"))
    'paper_ablation/3'
    """
    choices, seed = chosen(folder).get("choices") or {}, chosen(folder).get("seed")
    if not all(choices.get(group) for group in NAMED_BY):
        return "/".join(folder.absolute().parts[-2:])
    return "-".join([*(str(choices[group]) for group in NAMED_BY), f"s{seed}"])


def chosen(folder: Path) -> dict[str, Any]:
    """Return `choices` by group, `overrides` and `seed` of a run from its `.hydra` files.

    The result is empty without these files.
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
    # as typed: resolved, `key=${oc.env:NAME}` would write a secret into the files of a tracker
    typed = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return {
        "choices": choices,
        "overrides": typed,
        "seed": OmegaConf.select(OmegaConf.load(own), "seed"),
    }


def tags(folder: Path) -> list[str]:
    """Return the choices as W&B tags such as `advantage=g2rpo`, cut to 64 characters."""
    return [
        f"{group}={choice}"[:64]
        for group, choice in (chosen(folder).get("choices") or {}).items()
        if "@" not in group
    ]
