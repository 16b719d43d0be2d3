"""Checks of a configuration before anything is loaded.

Missing, unread and mistyped values are refused, and numbers out of range.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from g2rpo.allocator import keep_freed_memory
from g2rpo.cli.errors import explained
from g2rpo.cli.keys import FORMER_METRICS, known_keys, nearest, renamed
from g2rpo.cli.objects import refuse_wrong_objects
from g2rpo.cli.value_ranges import refuse_out_of_range
from g2rpo.cli.value_types import refuse_wrong_types
from g2rpo.launch.counts import check_counts
from g2rpo.paths import CONF
from g2rpo.reproducible import reproducible

PROBE = "probe"
"""`+<group>@probe=<name>` builds one object, so this key may be added at the top."""


@contextmanager
def checked(cfg: DictConfig, *, counted: bool = False) -> Iterator[None]:
    """Check the configuration, then run the block; any failure ends with one sentence.

    Args:
        cfg: The composed configuration.
        counted: Whether the processes of the run must be as many as the Trainer has devices.
    """
    with explained(Path(cfg.run_dir)):
        refuse_wrong_objects(cfg)
        refuse_missing(cfg)
        if counted:
            refuse_other_counts(cfg)  # first, because types are checked by heavy imports
        if HydraConfig.initialized():
            refuse_added(HydraConfig.get())
        refuse_wrong_types(cfg)
        refuse_out_of_range(cfg)
        refuse_former_metrics(cfg)
        keep_freed_memory()
        with reproducible():
            yield


def refuse_missing(cfg: DictConfig) -> None:
    """Raise `ValueError` if a key without a default was not given."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        meanings = "".join(f"\n  {key}: {words}" for key in missing if (words := _meaning(key)))
        raise ValueError(
            f"{missing[0]}: this key has no default; add"
            f" {' '.join(f'{key}=...' for key in missing)}{meanings}"
        )


def _meaning(key: str) -> str:
    """Return the comment beside a key without default in the files of its group; empty if none."""
    group, _, name = key.rpartition(".")
    comment = re.compile(rf"(?m)^{re.escape(name)}: \?\?\?\s+# (.+)$")
    texts = (
        path.read_text(encoding="utf-8")
        for path in sorted((Path(CONF) / group.replace(".", "/")).glob("*.yaml"))
    )
    return next((found[1] for text in texts if (found := comment.search(text))), "")


def refuse_added(hydra: Any) -> None:
    """Raise `ValueError` if `+` adds a top-level key or a group that nothing reads."""
    choices = {name.partition("@")[0] for name in hydra.runtime.choices}
    known = _top_keys(str(OmegaConf.select(hydra, "job.config_name")))
    for word in map(str, hydra.overrides.task):
        key = word.lstrip("+").partition("=")[0]
        top = key.partition(".")[0]
        if (
            not word.startswith("+")
            or key.partition("@")[0] in choices
            or top == PROBE
            or top in known
        ):
            continue
        value = word.partition("=")[2]
        found = nearest(key, known_keys("config"))
        hint = (
            "did you mean"
            f" {' or '.join(f'{name}={value}' if '=' not in name else name for name in found)}? "
            if found
            else ""
        )
        raise ValueError(
            f"{word}: nothing reads the key {top!r} at the top; {hint}--help shows the main keys"
        )


def refuse_other_counts(cfg: DictConfig) -> None:
    """Raise `ValueError` if a launcher has started another number of processes than is configured.

    Only plain numbers are compared; others, such as `auto`, once the Trainer has counted devices.
    """
    devices, nodes = (OmegaConf.select(cfg, f"trainer.{key}") for key in ("devices", "num_nodes"))
    if isinstance(devices, int) and isinstance(nodes, int) and devices > 0:
        check_counts(devices, nodes)


def refuse_former_metrics(cfg: DictConfig) -> None:
    """Raise `ValueError` if a callback monitors a metric by a former name."""
    for name, callback in (cfg.get("callbacks") or {}).items():
        metric = callback.get("monitor") if OmegaConf.is_dict(callback) else None
        present = renamed(metric, FORMER_METRICS, "/") if isinstance(metric, str) else None
        if present is not None:
            raise ValueError(
                f"callbacks.{name}.monitor: expected the name of a metric, got {metric}; it is now"
                f" called {present}"
            )


def _top_keys(config_name: str) -> set[str]:
    """Return top-level keys and groups of all programs; of `cold_start` only for itself."""
    found: set[str] = set()
    for file in Path(CONF).glob("*.yaml"):
        if file.stem == "cold_start" != config_name:
            continue
        own = OmegaConf.load(file)
        found |= {str(key) for key in own}
        found |= {
            str(name).split("/")[0].removeprefix("override ")
            for entry in own.defaults
            if OmegaConf.is_dict(entry)
            for name in entry
        }
    return found
