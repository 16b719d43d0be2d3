"""What is refused within a second: keys without a value, keys at the top that nothing reads, values
of the wrong type.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from g2rpo.cli.errors import explained
from g2rpo.cli.keys import known_keys, nearest
from g2rpo.cli.value_types import refuse_wrong_types
from g2rpo.places import CONF
from g2rpo.reproducible import reproducible

PROBE = "probe"
"""`+<group>@probe=<name>` builds one object; it may be at the top."""


@contextmanager
def checked(cfg: DictConfig) -> Iterator[None]:
    """Refuse what cannot be meant, then run the block; every failure ends with one sentence."""
    with explained(Path(cfg.run_dir)):
        refuse_missing(cfg)
        if HydraConfig.initialized():
            refuse_added(HydraConfig.get())
        refuse_wrong_types(cfg)
        with reproducible():
            yield


def refuse_missing(cfg: DictConfig) -> None:
    """Raise `ValueError` for keys that have no default and were not given."""
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
    """Raise `ValueError` for a key that `+` adds at the top of the configuration, where nothing
    would read it.
    """
    choices = {name.partition("@")[0] for name in hydra.runtime.choices}
    known = _top_keys(str(OmegaConf.select(hydra, "job.config_name")))
    for word in map(str, hydra.overrides.task):
        key = word.lstrip("+").partition("=")[0]
        top = key.partition(".")[0]
        if (
            not word.startswith("+")
            or key.partition("@")[0] in choices
            or "/" in top
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


def _top_keys(config_name: str) -> set[str]:
    """Keys and groups of the programs' own configurations; those of the cold start are known to
    that program alone.
    """
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
